/**
 * What a newly learned record means for one partition at this node, as a function: nothing is done here.
 *
 * Epochs may be skipped. So a primary goes on serving only when the record shows that it was primary all the time: each commit
 * that changes the sets puts the pair it replaced into `unsettled`, and only the serving primary of an epoch empties the list.
 * Where that can't be seen it takes over anew, which is always safe.
 */

import type { NodeIndex, PartitionRecord } from '../topology/topology.ts'
import { isKept } from '../topology/validity.ts'
import type { Role } from './role.ts'

/** A replica as far as the decision needs it. */
export interface HeldReplica {
  readonly partitionEpoch: number
  readonly state: Role
}

export type PartitionChange =
  /** Nothing is held, nothing is to be. */
  | { readonly kind: 'none' }
  /** The record is older than what this node has adopted, or contradicts it. */
  | { readonly kind: 'ignore' }
  /** As before; the lists beside the sets may have changed. */
  | { readonly kind: 'keep' }
  /** The partition begins: all logs are empty, its primary serves at once. */
  | { readonly kind: 'begin' }
  /** Primary before, between and now. */
  | { readonly kind: 'lead-on' }
  | { readonly kind: 'take-over' }
  | { readonly kind: 'follow' }
  /** A learner whose session goes on under another epoch. */
  | { readonly kind: 'learn-on' }
  /** A new sync session. */
  | { readonly kind: 'learn'; readonly session: number }
  /** Its role is over, but an earlier set that is not settled names it: what it holds may be needed. */
  | { readonly kind: 'set-aside' }
  /** Its role is over: memory is given back. */
  | { readonly kind: 'drop' }

const FIRST_EPOCH = 1

export function changeOf(
  record: PartitionRecord,
  self: NodeIndex,
  held: HeldReplica | undefined,
): PartitionChange {
  const session = record.learners.find((learner) => learner.node === self)?.session
  const wanted =
    self < 0
      ? 'none'
      : record.primary === self
        ? 'primary'
        : record.inSync.includes(self)
          ? 'backup'
          : session !== undefined
            ? 'learner'
            : isKept(record, self)
              ? 'kept'
              : 'none'
  if (held === undefined) {
    switch (wanted) {
      case 'none':
      case 'kept':
        return { kind: 'none' }
      case 'primary':
        return { kind: record.partitionEpoch === FIRST_EPOCH ? 'begin' : 'take-over' }
      case 'backup':
        return { kind: record.partitionEpoch === FIRST_EPOCH ? 'begin' : 'follow' }
      case 'learner':
        return { kind: 'learn', session: session as number }
    }
  }
  if (record.partitionEpoch < held.partitionEpoch) return { kind: 'ignore' }
  const { state } = held
  const isNew = record.partitionEpoch > held.partitionEpoch
  switch (wanted) {
    case 'none':
      return { kind: 'drop' }
    case 'kept':
      if (isNew) return { kind: 'set-aside' }
      return { kind: state.kind === 'kept' ? 'keep' : 'ignore' }
    case 'learner':
      if (state.kind === 'learner' && state.learner.session === session)
        return { kind: isNew ? 'learn-on' : 'keep' }
      return { kind: 'learn', session: session as number }
    case 'backup':
      if (isNew) return { kind: 'follow' }
      return { kind: state.kind === 'backup' ? 'keep' : 'ignore' }
    case 'primary':
      if (!isNew)
        return { kind: state.kind === 'primary' || state.kind === 'taking-over' ? 'keep' : 'ignore' }
      return { kind: state.kind === 'primary' && ledThroughout(record, self, held) ? 'lead-on' : 'take-over' }
  }
}

/** Whether every epoch since the held one had this node as its primary. */
function ledThroughout(record: PartitionRecord, self: NodeIndex, held: HeldReplica): boolean {
  const changes = record.partitionEpoch - held.partitionEpoch
  const { unsettled } = record
  if (record.recoveredAt > held.partitionEpoch) return false
  if (changes === 1) return true
  // A pair is listed once, however often it comes back: so the order of the list tells nothing, only who is in it.
  return unsettled.length > 0 && unsettled.every((set) => set.primary === self)
}
