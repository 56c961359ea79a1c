/** A member of a hash ring, and the zone it counts for. */

export interface RingMember {
  /** Unique on its ring. */
  readonly id: string
  /** Share of the keys relative to the others, above 0. Default 1. */
  readonly weight?: number
  /** Owners of a key are taken from distinct zones as long as there are some left. Default: a zone of its own. */
  readonly zone?: string
}

/** The zone a member counts for: one of its own when it names none. */
export function zoneOf(member: RingMember): string {
  return member.zone === undefined || member.zone === '' ? `\0${member.id}` : member.zone
}
