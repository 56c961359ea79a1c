/** The machine's clocks behind the Clock port. */

import type { Clock } from '../../kernel/clock.ts'

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
}
