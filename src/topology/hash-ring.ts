/**
 * A consistent hash ring (Karger et al., STOC 1997) with virtual nodes, weights and zones.
 *
 * Each member has `virtualNodes` points per unit of weight on a circle of 2^48 places; a key belongs to the member whose point
 * follows its own. Adding a member takes keys from the others and moves none between them. Further owners of a key are the
 * next members on the circle, one of each zone first.
 *
 * `place` bounds the load as well (Mirrokni, Thorup & Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018):
 * no member gets more than `loadFactor` times its share of the keys, what is too much goes to the next that has room.
 *
 * Building it costs one hash per point; a look-up a binary search.
 */

import { hash as digestOf } from 'node:crypto'
import { CacheError } from '../kernel/errors.ts'
import { type Circle, placeBounded } from './bounded-placement.ts'
import { type RingMember, zoneOf } from './ring-member.ts'

export type { RingMember } from './ring-member.ts'

/** Maps a text to an integer 0 … 2^48 − 1, evenly. */
export type RingHash = (text: string) => number

export interface RingOptions {
  /** Points per unit of weight, 150–256. Default 200. */
  readonly virtualNodes?: number
  /** How much more than its share a member may get in `place`, 1.01–2. Default 1.05. */
  readonly loadFactor?: number
  /** Default: the first 48 bits of SHA-256. */
  readonly hash?: RingHash
}

/** Hexadecimal digits of a place: 48 bits. */
const PLACE_DIGITS = 12

export class ConsistentHashRing implements Circle {
  readonly members: readonly RingMember[]
  readonly loadFactor: number
  readonly #hash: RingHash
  /** Places of the points, ascending; beside each the number of its member. */
  readonly #points: Float64Array
  readonly #owners: Uint32Array
  readonly #zones: readonly string[]

  /** @throws CacheError CONFIGURATION when an option or a weight is out of range or two members share an id */
  constructor(members: readonly RingMember[], options: RingOptions = {}) {
    const { virtualNodes = 200, loadFactor = 1.05, hash = sha256Place } = options
    demand(virtualNodes >= 150 && virtualNodes <= 256, `virtualNodes is ${virtualNodes}; use 150 to 256`)
    demand(loadFactor >= 1.01 && loadFactor <= 2, `loadFactor is ${loadFactor}; use 1.01 to 2`)
    demand(new Set(members.map(({ id }) => id)).size === members.length, 'two members of a ring share an id')
    this.members = members
    this.loadFactor = loadFactor
    this.#hash = hash
    this.#zones = members.map(zoneOf)
    const points: [place: number, owner: number][] = []
    members.forEach((member, owner) => {
      const weight = member.weight ?? 1
      demand(
        weight > 0 && weight <= 1000,
        `the weight of ${member.id} is ${weight}; use a number above 0, 1000 at most`,
      )
      const count = Math.max(1, Math.round(virtualNodes * weight))
      for (let i = 0; i < count; i++) points.push([hash(`${member.id}#${i}`), owner])
    })
    // Two points at one place: the member that stands first in the list has it, whatever order sorting leaves.
    points.sort((a, b) => a[0] - b[0] || a[1] - b[1])
    this.#points = Float64Array.from(points, ([place]) => place)
    this.#owners = Uint32Array.from(points, ([, owner]) => owner)
  }

  /** The ids of the first `count` owners of a key, in distinct zones as far as there are enough. Fewer when the ring is smaller. */
  owners(key: string, count = 1): string[] {
    const order = this.walk(key)
    const wanted = Math.min(count, order.length)
    const chosen: number[] = []
    const zones = new Set<string>()
    for (const distinct of [true, false]) {
      for (const member of order) {
        if (chosen.length === wanted) break
        const zone = this.#zones[member] as string
        if (chosen.includes(member) || (distinct && zones.has(zone))) continue
        chosen.push(member)
        zones.add(zone)
      }
    }
    return chosen.map((member) => (this.members[member] as RingMember).id)
  }

  /**
   * Owners of each key, the first of which is its primary, so that no member has more than `loadFactor` times its share of
   * all copies, nor of the primaries, as far as zones allow.
   * @param keys 65,536 at most
   */
  place(keys: readonly string[], count: number): string[][] {
    demand(keys.length <= 65_536, `${keys.length} keys to place; 65,536 at most`)
    const placed = placeBounded(this, keys, count)
    return placed.map((members) => members.map((member) => (this.members[member] as RingMember).id))
  }

  /** All members by number, in the order in which the circle meets them from the key's place on. */
  walk(key: string): number[] {
    const points = this.#points
    const order: number[] = []
    if (points.length === 0) return order
    const seen = new Uint8Array(this.members.length)
    const start = this.#firstAtOrAfter(this.#hash(key))
    for (let i = 0; i < points.length && order.length < seen.length; i++) {
      const owner = this.#owners[(start + i) % points.length] as number
      if (seen[owner] === 1) continue
      seen[owner] = 1
      order.push(owner)
    }
    return order
  }

  #firstAtOrAfter(place: number): number {
    const points = this.#points
    let low = 0
    let high = points.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((points[middle] as number) < place) low = middle + 1
      else high = middle
    }
    return low % points.length
  }
}

function sha256Place(text: string): number {
  return Number.parseInt(digestOf('sha256', text, 'hex').slice(0, PLACE_DIGITS), 16)
}

function demand(condition: boolean, problem: string): void {
  if (!condition) throw new CacheError('CONFIGURATION', problem)
}
