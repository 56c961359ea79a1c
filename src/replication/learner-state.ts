/**
 * A learner's own view of its sync session (docs/protocol.md, "Learners").
 *
 * - `waiting`: it holds unverified memory, or nothing, and no place in the log.
 * - `syncing`: it follows the log from where the session began; what is marked unverified has yet to be confirmed or replaced.
 * - `whole`: all of it is the primary's, as of the session's end and all that came since.
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

  constructor(session: number) {
    this.session = session
  }

  get isWhole(): boolean {
    return this.phase.kind === 'whole'
  }

  /** A session, or a new attempt at it, begins. */
  begin(attempt: number): void {
    this.phase = { kind: 'syncing', attempt, endSequence: undefined }
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
