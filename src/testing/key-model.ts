/**
 * What one key of a cache does, operation by operation, if operations happen one at a time: the sequential model that a
 * history is compared with.
 *
 * A state is the value and what is known of its version. Of an entry that was written by an operation nobody heard of, the
 * version is not known until somebody is told it. Versions only rise, whatever happens to the entry between: `floor` is the
 * highest that is known to have been given.
 */

import type { HistoryOperation, HistoryValue } from './history.ts'

export interface KeyState {
  /** null: no entry. */
  readonly value: HistoryValue
  /** undefined: not known, or there is no entry. */
  readonly version: string | undefined
  readonly floor: string | undefined
  /** Who holds the lock of this name. */
  readonly owner: string | undefined
  readonly token: number
}

export const EMPTY_KEY: KeyState = {
  value: null,
  version: undefined,
  floor: undefined,
  owner: undefined,
  token: 0,
}

/** Two states with the same text are the same. */
export function stateText(state: KeyState): string {
  return `${JSON.stringify(state.value)} ${state.version} ${state.floor} ${state.owner} ${state.token}`
}

/**
 * The state after the operation, or undefined when it can't have had its answer in this state. An operation of unknown
 * outcome fits every state; it comes to what it would have come to there.
 */
export function step(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  switch (operation.op) {
    case 'get':
      return observe(state, operation.output.value ?? null, operation.output.version)
    case 'set':
      return set(state, operation)
    case 'cas':
      return compareAndSet(state, operation)
    case 'delete':
      return remove(state, operation)
    case 'increment':
      return increment(state, operation)
    case 'lock':
    case 'unlock':
      return lock(state, operation)
  }
}

function set(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const { when } = operation.input
  if (when === undefined) return write(state, operation)
  return conditional(state, operation, (when === 'absent') === (state.value === null))
}

function compareAndSet(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const { input } = operation
  if (input.version === undefined)
    return conditional(state, operation, state.value === (input.expected ?? null))
  return conditional(state, operation, versionIs(state, input.version))
}

/** @param holds whether the condition does; 'open': the version of the entry is not known. */
function conditional(
  state: KeyState,
  operation: HistoryOperation,
  holds: boolean | 'open',
): KeyState | undefined {
  const applied = operation.outcome === 'unknown' ? holds !== false : operation.output.applied !== false
  if (applied) return holds === false ? undefined : write(state, operation)
  if (operation.outcome === 'unknown') return state
  if (holds === true) return undefined
  const { found, foundVersion } = operation.output
  return found === undefined ? state : observe(state, found, foundVersion)
}

function remove(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const { version } = operation.input
  const holds = version === undefined ? state.value !== null : versionIs(state, version)
  const gone: KeyState = { ...state, value: null, version: undefined }
  if (operation.outcome === 'unknown') return holds === false ? state : gone
  const existed = operation.output.existed === true
  if (existed) return holds === false ? undefined : gone
  return holds === true ? undefined : state
}

function increment(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const before = state.value ?? 0
  if (typeof before !== 'number') return operation.outcome === 'unknown' ? state : undefined
  const after = before + (operation.input.by ?? 1)
  if (operation.outcome === 'ok' && operation.output.value !== after) return undefined
  return { ...state, value: after, version: undefined }
}

function lock(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const { owner } = operation.input
  const taking = operation.op === 'lock'
  const possible = taking ? state.owner === undefined : state.owner === owner
  const applied = operation.outcome === 'unknown' ? possible : operation.output.applied !== false
  if (applied !== possible) return undefined
  if (!applied) return state
  if (!taking) return { ...state, owner: undefined }
  const token = operation.output.token ?? state.token
  if (operation.output.token !== undefined && token <= state.token) return undefined
  return { ...state, owner, token }
}

function write(state: KeyState, operation: HistoryOperation): KeyState | undefined {
  const version = operation.outcome === 'ok' ? operation.output.version : undefined
  if (version !== undefined && !rises(state.floor, version)) return undefined
  const { value } = operation.input
  return { ...state, value: value ?? null, version, floor: version ?? state.floor }
}

/** Somebody was told this value and, maybe, version. */
function observe(state: KeyState, value: HistoryValue, version: string | undefined): KeyState | undefined {
  if (state.value !== value) return undefined
  if (version === undefined || state.version === version) return state
  if (state.version !== undefined || !rises(state.floor, version)) return undefined
  return { ...state, version, floor: version }
}

function versionIs(state: KeyState, version: string): boolean | 'open' {
  if (state.value === null) return false
  if (state.version !== undefined) return state.version === version
  // A version given before can't be that of an entry written since.
  return rises(state.floor, version) ? 'open' : false
}

/** Whether `version` may be given after `floor`. */
function rises(floor: string | undefined, version: string): boolean {
  return floor === undefined || compareVersionTexts(floor, version) < 0
}

function compareVersionTexts(a: string, b: string): number {
  const [epochA, sequenceA] = a.split('.', 2)
  const [epochB, sequenceB] = b.split('.', 2)
  return Number(epochA) - Number(epochB) || Number(sequenceA) - Number(sequenceB)
}
