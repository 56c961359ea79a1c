/**
 * How many of `total` copies each member should hold: in proportion to its weight, within what is possible. A member holds
 * a key once at most, and as many zones as possible hold each key; so a heavy member of a small cluster gets less than its
 * weight asks for, and the others the rest.
 */

export interface Shared {
  readonly weight: number
  readonly low: number
  readonly high: number
}

/**
 * `total` divided in proportion to the weights, none below `low` or above `high`: each gets `clamp(level · weight)`, with the one
 * level at which that sums up. When the bounds allow no such sum, all get the bound nearest to it.
 */
export function divide(total: number, parts: readonly Shared[]): number[] {
  const at = (level: number): number[] =>
    parts.map(({ weight, low, high }) => Math.min(high, Math.max(low, level * weight)))
  const sum = (shares: readonly number[]): number => shares.reduce((a, b) => a + b, 0)
  let low = 0
  let high = 1
  const most = sum(parts.map((part) => part.high))
  while (sum(at(high)) < Math.min(total, most) && high < 1e12) high *= 2
  // 100 halvings: as exact as doubles are.
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2
    if (sum(at(middle)) < total) low = middle
    else high = middle
  }
  return at(high)
}

export interface Sharer {
  readonly weight: number
  readonly zone: string
}

/** The share of each member in `count` copies of each of `keys` keys. */
export function shareCopies(members: readonly Sharer[], keys: number, count: number): number[] {
  const copies = Math.min(count, members.length)
  const zones = [...new Set(members.map(({ zone }) => zone))]
  const spread = Math.min(zones.length, copies)
  const zoneShares = divide(
    keys * copies,
    zones.map((name) => {
      const inside = members.filter(({ zone }) => zone === name)
      const weight = inside.reduce((sum, member) => sum + member.weight, 0)
      // With fewer zones than copies each key is in every zone; with more, at most once in each.
      const most = zones.length >= copies ? 1 : Math.min(inside.length, copies - (spread - 1))
      return { weight, low: zones.length <= copies ? keys : 0, high: keys * most }
    }),
  )
  const shares = new Array<number>(members.length).fill(0)
  zones.forEach((name, z) => {
    const inside = members.flatMap((member, i) => (member.zone === name ? [i] : []))
    const divided = divide(
      zoneShares[z] as number,
      inside.map((i) => ({ weight: (members[i] as Sharer).weight, low: 0, high: keys })),
    )
    inside.forEach((i, at) => {
      shares[i] = divided[at] as number
    })
  })
  return shares
}
