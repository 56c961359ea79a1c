/**
 * Brings loads close to their shares with few moves: what is too much somewhere goes to where too little is, directly or
 * along the shortest chain of members (breadth first, as an augmenting path of a flow).
 */

/** What can be moved between members. */
export interface Movable {
  /**
   * A key that `from` could hand to each of these, by number: undefined where there is none.
   * @param wanted members worth looking for; stop once one of `best` is found
   */
  moves(from: number, wanted: readonly boolean[], best: readonly boolean[]): readonly (number | undefined)[]
  move(key: number, from: number, to: number): void
}

/** Bounds around a share: it is met within 5 %, or to the next whole number. */
export function boundsOf(share: number, factor: number): { readonly low: number; readonly high: number } {
  const exact = Math.round(share * 1e6) / 1e6
  return {
    low: Math.min(Math.floor(exact), Math.ceil(exact * (2 - factor))),
    high: Math.max(Math.ceil(exact), Math.floor(exact * factor)),
  }
}

/**
 * Moves keys until every load lies within its bounds, or no move helps.
 * @param loads changed in place
 */
export function level(
  loads: number[],
  shares: readonly number[],
  factor: number,
  movable: Movable,
  movesMax: number,
): void {
  const bounds = shares.map((share) => boundsOf(share, factor))
  const excess = (i: number): number => (loads[i] as number) - (shares[i] as number)
  const relative = (i: number): number => excess(i) / Math.max(1, shares[i] as number)
  const isOver = (i: number): boolean => (loads[i] as number) > (bounds[i]?.high as number)
  const isUnder = (i: number): boolean => (loads[i] as number) < (bounds[i]?.low as number)
  const all = loads.map((_, i) => i)
  const stuckOver = new Set<number>()
  const stuckUnder = new Set<number>()
  for (let moved = 0; moved < movesMax; ) {
    const over = most(all, (i) => (isOver(i) && !stuckOver.has(i) ? relative(i) : undefined))
    if (over !== undefined) {
      // To somebody who lacks something; failing that, to whoever has room within its bounds.
      const path =
        findPath(over, (i) => excess(i) <= -0.5, all.length, movable) ??
        findPath(over, (i) => (loads[i] as number) < (bounds[i]?.high as number), all.length, movable)
      if (path === undefined) stuckOver.add(over)
      else moved += follow(path, over, loads, movable)
      continue
    }
    const under = most(all, (i) => (isUnder(i) && !stuckUnder.has(i) ? -relative(i) : undefined))
    if (under === undefined) return
    const givers = all
      .filter((i) => (loads[i] as number) > (bounds[i]?.low as number))
      .sort((x, y) => relative(y) - relative(x))
    let found = false
    for (const giver of givers) {
      const path = findPath(giver, (i) => i === under, all.length, movable)
      if (path === undefined) continue
      moved += follow(path, giver, loads, movable)
      found = true
      break
    }
    if (!found) stuckUnder.add(under)
  }
}

/** The first of those with the highest measure; undefined when none has one. */
function most(
  members: readonly number[],
  measure: (member: number) => number | undefined,
): number | undefined {
  let best: number | undefined
  let highest = Number.NEGATIVE_INFINITY
  for (const member of members) {
    const value = measure(member)
    if (value === undefined || value <= highest) continue
    best = member
    highest = value
  }
  return best
}

type Step = readonly [key: number, from: number, to: number]

/** The shortest chain of moves from a member to one that `ends` it. */
function findPath(
  start: number,
  ends: (member: number) => boolean,
  members: number,
  movable: Movable,
): Step[] | undefined {
  const best = Array.from({ length: members }, (_, i) => i !== start && ends(i))
  if (!best.includes(true)) return undefined
  // Most moves need no chain.
  for (const [to, key] of movable.moves(start, best, best).entries())
    if (key !== undefined) return [[key, start, to]]
  const unseen = best.map((_, i) => i !== start)
  const via = new Map<number, Step>()
  const queue = [start]
  for (let from = queue.shift(); from !== undefined; from = queue.shift()) {
    const moves = movable.moves(from, unseen, best)
    for (const [to, key] of moves.entries()) {
      if (key === undefined || unseen[to] !== true) continue
      unseen[to] = false
      via.set(to, [key, from, to])
      queue.push(to)
    }
    const end = best.findIndex((isBest, i) => isBest && via.has(i))
    if (end < 0) continue
    const path: Step[] = []
    for (let step = via.get(end); step !== undefined; step = via.get(step[1])) path.unshift(step)
    return path
  }
  return undefined
}

/** @returns how many moves it took */
function follow(path: readonly Step[], start: number, loads: number[], movable: Movable): number {
  for (const [key, from, to] of path) movable.move(key, from, to)
  const end = (path.at(-1) as Step)[2]
  loads[start] = (loads[start] as number) - 1
  loads[end] = (loads[end] as number) + 1
  return path.length
}
