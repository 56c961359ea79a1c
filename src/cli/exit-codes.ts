/** What a command's exit says (docs/operation.md, "Commands"). */

import type { ErrorCode } from '../kernel/errors.ts'

export const EXIT = {
  done: 0,
  /** Wrong usage, configuration or argument. */
  usage: 1,
  /** No node answered, or the cluster is still starting. */
  unreachable: 2,
  failed: 3,
  /** The cluster is not safe, or the check found a problem. */
  unsafe: 4,
} as const

const USAGE: readonly ErrorCode[] = ['CONFIGURATION', 'INVALID_ARGUMENT', 'UNKNOWN_REGION']
const UNREACHABLE: readonly ErrorCode[] = ['UNAVAILABLE', 'NOT_READY', 'TIMEOUT']

export function exitCodeOf(code: ErrorCode): number {
  if (USAGE.includes(code)) return EXIT.usage
  return UNREACHABLE.includes(code) ? EXIT.unreachable : EXIT.failed
}
