/**
 * A learner's own view of its sync session (docs/protocol.md, "Learners").
 *
 * - `waiting`: it holds unverified memory, or nothing, and no place in the log.
 * - `syncing`: it follows the log from where the session began; what is marked unverified has yet to be confirmed or replaced.
 * - `whole`: all of it is the primary's, as of the session's end and all that came since.
 *
 * Invariant: whatever the learner holds under a version is what the primary that gave this version stored under it, verified or not. A
 * change that keeps an entry's value and gives it a new version (its expiry) must therefore not reach what is unverified.
 */

export type LearnerPhase =
  | { readonly kind: 'waiting' }
  | {
      readonly kind: 'syncing'
      readonly attempt: number
      /** Where the walk stood at its end, once that came: the learner is whole when it applied so much. */
      readonly endSequence: number | undefined
    }
  | { readonly kind: 'whole'; readonly attempt: number }

export class LearnerState {
  /** The epoch of the commit that added the learner: names the session. */
  readonly session: number
  phase: LearnerPhase = { kind: 'waiting' }
  /** Buckets that differed as the attempt began, as two words of bits: unverified up to where ranges have come. */
  #low = 0
  #high = 0
  /** All hashes below it are verified. */
  #walkedTo = 0
  /** Whatever has a later version came with the log. */
  #beginEpoch = 0
  #beginSequence = 0
  /** Broken by a test: nothing is held unverified. */
  readonly #vouchesForAll: boolean

  constructor(session: number, vouchesForAll = false) {
    this.session = session
    this.#vouchesForAll = vouchesForAll
  }

  get isWhole(): boolean {
    return this.phase.kind === 'whole'
  }

  /**
   * A session, or a new attempt at it, begins: under this epoch, where the primary's log stands at `lastSequence`.
   * @param low which buckets differ, the other ones are the primary's; `high`: those from 32 on
   */
  begin(attempt: number, partitionEpoch: number, lastSequence: number, low: number, high: number): void {
    this.phase = { kind: 'syncing', attempt, endSequence: undefined }
    this.#beginEpoch = partitionEpoch
    this.#beginSequence = lastSequence
    this.#low = low
    this.#high = high
    this.#walkedTo = 0
  }

  /** A range up to this hash became the primary's; ranges ascend, and leave out only what is verified. */
  covered(toHash: number): void {
    if (toHash >= this.#walkedTo) this.#walkedTo = toHash + 1
  }

  /** Whether an entry with this hash and this version is the primary's, as far as the log was applied. */
  vouchesFor(hash: number, versionEpoch: number, versionSequence: number): boolean {
    if (this.isWhole || this.#vouchesForAll) return true
    if (this.phase.kind === 'waiting') return false
    if (versionEpoch >= this.#beginEpoch && versionSequence > this.#beginSequence) return true
    const bucket = hash >>> 26
    const word = bucket < 32 ? this.#low : this.#high
    return ((word >>> (bucket & 31)) & 1) === 0 || hash < this.#walkedTo
  }

  /** The walk is over; the log up to `endSequence` has to be applied. */
  end(attempt: number, endSequence: number): void {
    if (this.phase.kind !== 'syncing' || this.phase.attempt !== attempt) return
    this.phase = { kind: 'syncing', attempt, endSequence }
  }

  /** The log was applied up to `lastSequence`. @returns whether that made it whole. */
  reached(lastSequence: number): boolean {
    const { phase } = this
    if (phase.kind !== 'syncing' || phase.endSequence === undefined || lastSequence < phase.endSequence)
      return false
    this.phase = { kind: 'whole', attempt: phase.attempt }
    return true
  }

  /** Whether a frame of this attempt belongs here. */
  follows(session: number, attempt: number): boolean {
    return session === this.session && this.phase.kind !== 'waiting' && this.phase.attempt === attempt
  }
}
