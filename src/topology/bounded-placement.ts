/**
 * Which members of a ring hold which keys, with bounded loads: first by the ring, then levelled. Given an earlier placement, it
 * keeps of that as much as the bounds allow, so that little has to move when a member comes or goes.
 *
 * Zones come before loads: the copies of a key lie in as many zones as there are, whatever that does to the balance. The
 * first copy of a key is its primary; primaries are levelled on their own, among those who hold the key anyway.
 */

import { boundsOf, level, type Movable } from './levelling.ts'
import { type RingMember, zoneOf } from './ring-member.ts'
import { divide, shareCopies } from './shares.ts'

/** What placing needs of a hash ring. */
export interface Circle {
  readonly members: readonly RingMember[]
  /** How much more than its share a member may get. */
  readonly loadFactor: number
  /** All members by number, in the order in which the circle meets them from the key's place on. */
  walk(key: string): number[]
}

/**
 * Members by number, for each key; the primary first.
 * @param earlier what to keep of it: members by number; those the ring does not have are left out beforehand
 */
export function placeBounded(
  ring: Circle,
  keys: readonly string[],
  count: number,
  earlier?: readonly (readonly number[])[],
): number[][] {
  const placing = new Placing(ring, keys, count)
  keys.forEach((_, key) => {
    placing.keep(key, earlier?.[key] ?? [])
  })
  keys.forEach((_, key) => {
    placing.fill(key)
  })
  placing.level()
  placing.choosePrimaries()
  return placing.members
}

class Placing {
  readonly members: number[][]
  readonly #ring: Circle
  readonly #keys: readonly string[]
  readonly #copies: number
  /** Zones by number. */
  readonly #zones: readonly number[]
  /** Zones that hold a copy of a key, if all goes well. */
  readonly #spread: number
  readonly #shares: readonly number[]
  readonly #high: readonly number[]
  readonly #loads: number[]

  constructor(ring: Circle, keys: readonly string[], count: number) {
    this.#ring = ring
    this.#keys = keys
    this.#copies = Math.min(count, ring.members.length)
    const names = ring.members.map(zoneOf)
    const zones = [...new Set(names)]
    this.#zones = names.map((name) => zones.indexOf(name))
    this.#spread = Math.min(this.#copies, zones.length)
    const sharers = ring.members.map((member, i) => ({
      weight: member.weight ?? 1,
      zone: names[i] as string,
    }))
    this.#shares = shareCopies(sharers, keys.length, count)
    this.#high = this.#shares.map((share) => boundsOf(share, ring.loadFactor).high)
    this.#loads = ring.members.map(() => 0)
    this.members = keys.map(() => [])
  }

  /** Takes over earlier holders, as many as there are to be, in as many zones as there are to be. */
  keep(key: number, earlier: readonly number[]): void {
    const kept = this.members[key] as number[]
    for (const member of earlier)
      if (kept.length < this.#copies && this.#fits(kept, member)) this.#put(key, member)
  }

  /** Gives the missing copies to the next members on the ring that have room, in zones that have none. */
  fill(key: number): void {
    const held = this.members[key] as number[]
    if (held.length >= this.#copies) return
    const order = this.#ring.walk(this.#keys[key] as string)
    while (held.length < this.#copies) {
      const possible = order.filter((member) => this.#fits(held, member))
      const next =
        possible.find((member) => (this.#loads[member] as number) < (this.#high[member] as number)) ??
        leastLoaded(possible, this.#loads, this.#shares)
      if (next === undefined) return
      this.#put(key, next)
    }
  }

  level(): void {
    const cursors = this.#ring.members.map(() => 0)
    const movable: Movable = {
      moves: (from, wanted, best) => {
        const found: (number | undefined)[] = wanted.map(() => undefined)
        // Not from the beginning each time: what was passed over before is unlikely to serve now.
        const start = cursors[from] as number
        for (let i = 0; i < this.members.length; i++) {
          const key = (start + i) % this.members.length
          const held = this.members[key] as number[]
          if (!held.includes(from)) continue
          for (let to = 0; to < wanted.length; to++) {
            if (wanted[to] !== true || found[to] !== undefined || !this.#fits(held, to, from)) continue
            found[to] = key
            if (best[to] !== true) continue
            cursors[from] = key
            return found
          }
        }
        return found
      },
      move: (key, from, to) => {
        const held = this.members[key] as number[]
        held[held.indexOf(from)] = to
      },
    }
    level(this.#loads, this.#shares, this.#ring.loadFactor, movable, 4 * this.#keys.length * this.#copies)
  }

  /** Keeps the first of each key where it can, and passes the role on where a member has too many. */
  choosePrimaries(): void {
    const held = this.#loads
    const shares = divide(
      this.#keys.length,
      this.#ring.members.map((member, i) => ({
        weight: member.weight ?? 1,
        low: 0,
        high: held[i] as number,
      })),
    )
    const loads = held.map(() => 0)
    for (const [primary] of this.members) {
      if (primary !== undefined) loads[primary] = (loads[primary] as number) + 1
    }
    const cursors = held.map(() => 0)
    const movable: Movable = {
      moves: (from, wanted, best) => {
        const found: (number | undefined)[] = wanted.map(() => undefined)
        const start = cursors[from] as number
        for (let i = 0; i < this.members.length; i++) {
          const key = (start + i) % this.members.length
          const members = this.members[key] as number[]
          if (members[0] !== from) continue
          for (let m = 1; m < members.length; m++) {
            const to = members[m] as number
            if (wanted[to] !== true || found[to] !== undefined) continue
            found[to] = key
            if (best[to] !== true) continue
            cursors[from] = key
            return found
          }
        }
        return found
      },
      move: (key, _from, to) => {
        const members = this.members[key] as number[]
        members[members.indexOf(to)] = members[0] as number
        members[0] = to
      },
    }
    level(loads, shares, this.#ring.loadFactor, movable, 4 * this.#keys.length)
  }

  /**
   * Whether a member may be added, in the place of `leaving` if that is given: it does not hold the key, and enough copies are
   * left to reach all zones.
   */
  #fits(held: readonly number[], member: number, leaving = -1): boolean {
    const zones = this.#zones
    let copies = 0
    let distinct = 1
    for (let i = 0; i < held.length; i++) {
      const one = held[i] as number
      if (one === member) return false
      if (one === leaving) continue
      copies++
      let isNew = zones[one] !== zones[member]
      for (let j = 0; isNew && j < i; j++) {
        const earlier = held[j] as number
        if (earlier !== leaving && zones[earlier] === zones[one]) isNew = false
      }
      if (isNew) distinct++
    }
    return this.#spread - distinct <= this.#copies - copies - 1
  }

  #put(key: number, member: number): void {
    this.members[key]?.push(member)
    this.#loads[member] = (this.#loads[member] as number) + 1
  }
}

function leastLoaded(
  members: readonly number[],
  loads: readonly number[],
  shares: readonly number[],
): number | undefined {
  const load = (member: number): number =>
    (loads[member] as number) / Math.max(1e-9, shares[member] as number)
  let best = members[0]
  for (const member of members) if (best === undefined || load(member) < load(best)) best = member
  return best
}
