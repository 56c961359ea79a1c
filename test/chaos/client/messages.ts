/** What the runner and a client process tell each other. */

export interface ClientSettings {
  /** Number of the client, from 0. */
  readonly client: number
  readonly seed: number
  /** Holds dist. */
  readonly build: string
  readonly addresses: readonly string[]
  readonly timeoutMs: number
}

export interface WorkloadSettings {
  /** Operations on hot keys under way at one time in this client. */
  readonly workers: number
  /** Mean pause of a worker between two operations. */
  readonly thinkMs: number
  /** Of which keys are hot in each period. */
  readonly hotKeys: number
  readonly periodMs: number
  /** When the first period began, in nanoseconds of the run's clock. */
  readonly startNs: number
  readonly historyFile: string
  /** Writes of the ledger, and as many reads, per second. */
  readonly ledgerRate: number
}

/** How reads are made: linearizable where the client can, else from primaries. */
export type ReadMode = 'linearizable' | 'primary'

export interface WorkloadResult {
  readonly operations: number
  readonly unknown: number
  readonly failed: number
  /** Failures by code. */
  readonly codes: Readonly<Record<string, number>>
  readonly samples: Samples
  readonly ledger: LedgerCounts
  /** Calls that ended in a way that no operation may end in. */
  readonly problems: readonly string[]
}

/** Calls at a fixed rate, as columns. Times are milliseconds of the run's clock. */
export interface Samples {
  /** When the call was due. */
  readonly dueMs: Float64Array
  readonly endMs: Float64Array
  /** 0: answered, 1: failed, 2: unknown outcome. */
  readonly outcome: Uint8Array
  /** Which group the call belongs to, say by the node that its key lay on; 255: none. */
  readonly group: Uint8Array
  /** Code or message of the failures, most frequent first. */
  readonly errors: Readonly<Record<string, number>>
}

export interface LedgerCounts {
  readonly acknowledged: number
  readonly unknown: number
  readonly refused: number
  /** Reads during the run that did not give what had been acknowledged before they began. */
  readonly staleReads: readonly string[]
}

export interface LedgerVerdict {
  readonly checked: number
  /** Keys of acknowledged writes that are not there, or not with their value. */
  readonly lost: readonly string[]
  /** Keys that could not be read in the end. */
  readonly unread: readonly string[]
}

/** Method → parameters and result. */
export interface ClientMethods {
  connect: { params: ClientSettings; result: { read: ReadMode } }
  run: { params: WorkloadSettings; result: null }
  stop: { params: null; result: WorkloadResult }
  readLedger: { params: null; result: LedgerVerdict }
  /** Why the cluster is not whole as a client sees it: copies are missing, or writes to all of them fail. */
  probe: { params: { timeoutMs: number }; result: { problem: string | undefined } }
  /** Nodes that are the primary of some partition. */
  leaders: { params: null; result: readonly string[] }
  close: { params: null; result: null }
}
