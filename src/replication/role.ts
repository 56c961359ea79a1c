/**
 * What a node is to one partition, and which changes there are:
 *
 * ```
 * backup ──► taking-over ──► primary ──► backup, learner, kept
 *   ▲  └───► learner ──► backup, taking-over
 *   ├── taking-over
 *   └── kept ──► taking-over, learner
 * ```
 *
 * Nobody becomes primary but through a takeover, except of a partition that begins (its first epoch): then every log is empty.
 * A node without a role has no replica at all.
 */

import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { LearnerState } from './learner-state.ts'
import type { Takeover } from './takeover.ts'

export type Role =
  /** Orders the partition's operations and answers for them. */
  | { readonly kind: 'primary' }
  /** Named primary; makes sure that it holds all that was acknowledged, and that nobody else answers. */
  | { readonly kind: 'taking-over'; readonly takeover: Takeover }
  /** Holds a prefix of the primary's log. */
  | { readonly kind: 'backup' }
  /** Is being brought up to date: counts for nothing. */
  | { readonly kind: 'learner'; readonly learner: LearnerState }
  /** Left the set, but what it holds may be needed until the sets it was in are settled: it keeps it, and does nothing. */
  | { readonly kind: 'kept' }

export type RoleName = Role['kind']

const NEXT: Readonly<Record<RoleName, readonly RoleName[]>> = {
  primary: ['backup', 'learner', 'taking-over', 'kept'],
  'taking-over': ['primary', 'backup', 'learner', 'taking-over', 'kept'],
  backup: ['taking-over', 'learner', 'backup', 'kept'],
  learner: ['backup', 'taking-over', 'learner', 'kept'],
  kept: ['backup', 'taking-over', 'learner', 'kept'],
}

/** The role after a change. @throws CacheError INTERNAL when there is no such change. */
export function changeRole(from: Role, to: Role): Role {
  if (NEXT[from.kind].includes(to.kind)) return to
  throw new CacheError('INTERNAL', `a replica turned from ${from.kind} to ${to.kind}`)
}

export const PRIMARY: Role = { kind: 'primary' }
export const BACKUP: Role = { kind: 'backup' }
export const KEPT: Role = { kind: 'kept' }

/** What stands in place of a node's position where none is known. */
export const NO_NODE: NodeIndex = -1
