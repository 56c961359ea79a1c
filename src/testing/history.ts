/**
 * Histories: what clients asked of a cluster and what they were told, one operation per line of JSON, so that checkers of
 * other makes can read them too:
 *
 *     {"process":3,"key":"k1","op":"cas","input":{…},"output":{…},"call":1200,"return":3400,"outcome":"ok"}
 *
 * `call` and `return` are nanoseconds on one clock; `return` is null where no answer came. Outcomes:
 *
 * - `ok`: answered, and `output` says what. A condition that did not hold is an answer: `{"applied":false,…}`.
 * - `fail`: certainly nothing happened, and nothing was learned.
 * - `unknown`: it may have happened, or happen at any time after its call, or never.
 *
 * Values are JSON; `null` is "no entry". Versions are texts, `"epoch.sequence"`. Inputs and outputs:
 *
 * | op        | input                                             | output                                   |
 * |-----------|---------------------------------------------------|------------------------------------------|
 * | get       | {}                                                | value, version?                          |
 * | set       | value, when? ("absent" or "present")              | version?, applied?, found?, foundVersion? |
 * | cas       | value, and version or expected                    | applied, version?, found?, foundVersion? |
 * | delete    | version?                                          | existed (with version: it matched)       |
 * | increment | by                                                | value                                    |
 * | lock      | owner                                             | applied, token?                          |
 * | unlock    | owner                                             | applied                                  |
 */

export type HistoryValue = string | number | boolean | null

export type HistoryOp = 'get' | 'set' | 'cas' | 'delete' | 'increment' | 'lock' | 'unlock'

export type HistoryOutcome = 'ok' | 'fail' | 'unknown'

export interface HistoryInput {
  readonly value?: HistoryValue
  readonly when?: 'absent' | 'present'
  readonly expected?: HistoryValue
  readonly version?: string
  readonly by?: number
  readonly owner?: string
}

export interface HistoryOutput {
  readonly value?: HistoryValue
  readonly version?: string
  readonly applied?: boolean
  readonly existed?: boolean
  /** What a condition met; absent: not told. */
  readonly found?: HistoryValue
  readonly foundVersion?: string
  /** Fencing token of a lock; each is higher than all before. */
  readonly token?: number
}

export interface HistoryOperation {
  readonly process: number
  readonly key: string
  readonly op: HistoryOp
  readonly input: HistoryInput
  readonly output: HistoryOutput
  /** Nanoseconds. */
  readonly call: number
  readonly return: number | null
  readonly outcome: HistoryOutcome
}

const OPS: ReadonlySet<string> = new Set<HistoryOp>([
  'get',
  'set',
  'cas',
  'delete',
  'increment',
  'lock',
  'unlock',
])
const OUTCOMES: ReadonlySet<string> = new Set<HistoryOutcome>(['ok', 'fail', 'unknown'])

/** One line, without its end, its members in the order of the format. */
export function historyLine(operation: HistoryOperation): string {
  const { process, key, op, input, output, call, outcome } = operation
  return JSON.stringify({ process, key, op, input, output, call, return: operation.return, outcome })
}

/**
 * Reads a history; empty lines are passed over.
 * @throws Error naming the first line that is none of its format.
 */
export function parseHistory(text: string): HistoryOperation[] {
  const operations: HistoryOperation[] = []
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return
    const problem = (what: string): Error => new Error(`line ${index + 1} of the history: ${what}`)
    let parsed: unknown
    try {
      parsed = JSON.parse(line)
    } catch {
      throw problem('not JSON')
    }
    const wrong = wrongMember(parsed)
    if (wrong !== undefined) throw problem(wrong)
    operations.push(parsed as HistoryOperation)
  })
  return operations
}

/** Notes operations as they run: `begin` at the call, one of `ok`, `fail` and `unknown` when it ended. */
export class HistoryRecorder {
  readonly operations: HistoryOperation[] = []
  readonly #nowNs: () => number
  readonly #written: ((operation: HistoryOperation) => void) | undefined
  readonly #open = new Set<OpenOperation>()

  /** @param written called with each operation once it has ended, e.g. to append it to a file; it is not kept then. */
  constructor(nowNs: () => number, written?: (operation: HistoryOperation) => void) {
    this.#nowNs = nowNs
    this.#written = written
  }

  begin(process: number, key: string, op: HistoryOp, input: HistoryInput = {}): OpenOperation {
    const open = new OpenOperation(
      { process, key, op, input, call: Math.round(this.#nowNs()) },
      (self, outcome, output) => {
        if (!this.#open.delete(self)) return
        const returned = Math.round(this.#nowNs())
        this.#add({ ...self.start, output, return: returned, outcome })
      },
    )
    this.#open.add(open)
    return open
  }

  /** Operations that have not ended. */
  get pending(): number {
    return this.#open.size
  }

  /** Ends the recording: what has not been answered by now is unknown. */
  close(): void {
    for (const { start } of this.#open) this.#add({ ...start, output: {}, return: null, outcome: 'unknown' })
    this.#open.clear()
  }

  #add(operation: HistoryOperation): void {
    if (this.#written === undefined) this.operations.push(operation)
    else this.#written(operation)
  }
}

type Start = Pick<HistoryOperation, 'process' | 'key' | 'op' | 'input' | 'call'>

export class OpenOperation {
  readonly start: Start
  readonly #end: (self: OpenOperation, outcome: HistoryOutcome, output: HistoryOutput) => void

  constructor(
    start: Start,
    end: (self: OpenOperation, outcome: HistoryOutcome, output: HistoryOutput) => void,
  ) {
    this.start = start
    this.#end = end
  }

  ok(output: HistoryOutput = {}): void {
    this.#end(this, 'ok', output)
  }

  fail(): void {
    this.#end(this, 'fail', {})
  }

  unknown(): void {
    this.#end(this, 'unknown', {})
  }
}

function wrongMember(parsed: unknown): string | undefined {
  if (!isObject(parsed)) return 'not an object'
  const { process, key, op, input, output, call, outcome } = parsed
  const returned = parsed['return']
  if (!Number.isSafeInteger(process)) return 'process must be an integer'
  if (typeof key !== 'string') return 'key must be a text'
  if (typeof op !== 'string' || !OPS.has(op)) return `op must be one of ${[...OPS].join(', ')}`
  if (!isObject(input)) return 'input must be an object'
  if (!isObject(output)) return 'output must be an object'
  if (typeof call !== 'number') return 'call must be a number of nanoseconds'
  if (returned !== null && (typeof returned !== 'number' || returned < call))
    return 'return must be null or a number of nanoseconds not before call'
  if (typeof outcome !== 'string' || !OUTCOMES.has(outcome)) return 'outcome must be ok, fail or unknown'
  if (outcome === 'ok' && returned === null) return 'an operation that was answered needs a return'
  return undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
