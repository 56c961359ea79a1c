/**
 * The rules of the cluster protocol on which its safety rests, by name, so that a test can break one and see that the
 * simulation notices. A rule whose breaking nobody notices is either not needed or not tested.
 *
 * Only tests pass a set of broken rules, through the ports of a node (`NodePorts.brokenRules`); no option and no
 * configuration leads there. Whoever keeps a rule asks once, when it is constructed, and keeps the answer in a field:
 *
 *     this.#fencesEpoch = keeps(ports.brokenRules, 'backup-epoch-fence')
 *
 * so that a rule costs nothing where it is kept.
 */

/** Where the rule stands in docs/protocol.md is said beside it. */
export const RULES = [
  /** A learner's acknowledgement counts for no quorum (1). */
  'learner-not-counted',
  /** A quorum is the majority of the in-sync set, whatever one call asked for (1). */
  'set-majority',
  /** A process started again has no role until NodeRestarted is committed (1, 3). */
  'restart-is-another-node',
  /** A section of another partition epoch is refused (4.1). */
  'backup-epoch-fence',
  /** Acknowledgements start from zero when the epoch changes under the same primary (4.4). */
  'acks-per-epoch',
  /** A backup counts until its primary has learned that its removal is committed (4.7). */
  'shrink-after-commit',
  /** Whoever is brought up gets the table of operation ids too (4.8). */
  'ids-in-sync',
  /** A retried operation is answered once its original is committed as asked (4.8). */
  'retry-waits-for-commit',
  /** Outcomes are kept until the watermark or the time limit passes them (4.8). */
  'ids-until-watermark',
  /** An operation that was applied ends OUTCOME_UNKNOWN, never as refused (4.8). */
  'applied-is-unknown',
  /** A linearizable answer waits until everything it may reveal is committed, absence included (5). */
  'read-waits-for-commit',
  /** A linearizable answer needs a lease or a round of confirmation (5). */
  'read-under-lease',
  /** A round of confirmation serves only requests that arrived before it began (5). */
  'confirm-after-arrival',
  /** A lease needs the grants of a majority of the set (5). */
  'lease-needs-grants',
  /** A primary's own grant counts in a takeover (5, 6.3). */
  'lease-own-grant',
  /** A lease counts from the sending of the frame whose acknowledgement granted it (5). */
  'lease-from-send',
  /** A lease ends a tenth early for its holder (5). */
  'lease-ends-early',
  /** A primary alone in its set answers only in contact with a majority of voters (5). */
  'lone-primary-needs-voters',
  /** A new set must hold every set that may have acknowledged writes (6). */
  'unsettled-sets',
  /** Settled is committed once a quorum holds, in this epoch, all there was at its beginning (6). */
  'settle-after-quorum',
  /** A new primary hears every member of the new set (6.1). */
  'takeover-hears-all',
  /** A member adopts the epoch in the turn in which it answers the takeover (6.1). */
  'adopt-before-answer',
  /** A new primary waits out the leases that may still run (6.3). */
  'takeover-waits-for-leases',
  /** Only the death of that very process spares the wait for its lease (6.3). */
  'proven-dead-by-process',
  /** A new primary fetches what the longest log holds (6.2). */
  'takeover-longest-log',
  /** A learner's session begins with no log position and no operation ids (7). */
  'learner-forgets',
  /** A session of a learner belongs to one commit (7). */
  'learner-session',
  /** The primary's first word on an unverified key replaces it, even by an older version (7). */
  'unverified-replaced',
  /** What a learner lists is kept only where the primary holds that very version (7). */
  'listed-by-version',
  /** A change of nothing but its expiry does not give an unverified entry the primary's version (7). */
  'unverified-touch-drops',
  /** Only a whole learner is promoted (7). */
  'promote-only-whole',
  /** After Recovered the new primary waits for what its predecessor may still serve (8). */
  'recovered-waits',
  /** Recovered never uses a learner that is not whole (8). */
  'recovered-whole',
] as const

export type Rule = (typeof RULES)[number]

export type BrokenRules = ReadonlySet<Rule>

/** Whether the rule is kept: always, but in a test that breaks it. */
export function keeps(broken: BrokenRules | undefined, rule: Rule): boolean {
  return broken === undefined || !broken.has(rule)
}
