/** What applying a change comes to: the new record, or why the change does nothing. */

import type { Topology } from './topology.ts'

export interface Refused {
  /** Which expectation does not hold. */
  readonly refused: string
}

export type Outcome = Topology | Refused

export function refuse(reason: string): Refused {
  return { refused: reason }
}

export function isRefused(outcome: Outcome): outcome is Refused {
  return 'refused' in outcome
}
