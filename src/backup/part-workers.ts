/**
 * The nodes of a run, as the one that coordinates it sees them: each is asked for the partitions it is primary of, and asked again and
 * again how far it is. That is all that goes between nodes; what they did lies in the place of the backup.
 *
 * A node that is not asked for a while ends its work; one that does not answer is asked anew when it does, or others are, once they are
 * primaries in its place.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { isUp, type Topology } from '../topology/topology.ts'
import type { WritePartsReply, WritePartsRequest } from '../wire/admin.ts'

/** How another node, or this one, is asked. */
export interface PartsPort {
  /** @throws CacheError UNAVAILABLE, TIMEOUT, NOT_READY when the node can't be asked */
  writeParts(address: string, request: WritePartsRequest): Promise<WritePartsReply>
}

export interface PartWorkersOptions {
  readonly backup: string
  readonly place: string
  readonly bytesPerSecond: number
  readonly ports: PartsPort
  readonly clock: Clock
  readonly log: Log
  nextTask(): string
  /** A part is said to be there. */
  stored(part: string): void
}

interface Worker {
  readonly nodeId: string
  readonly address: string
  readonly task: string
  readonly partitions: ReadonlySet<number>
  readonly seen: Set<string>
  silentSinceMs: number | undefined
  reply: WritePartsReply | undefined
}

/** A node that does not answer for so long is given up: its partitions are asked for where they are by then. */
const SILENCE_MS = 10_000
/** Of one node, in a row, without a part stored. */
const FAILURES_MAX = 2
const AGAIN_MS = 1000
const AGAIN_MS_MAX = 10_000

export class PartWorkers {
  readonly #options: PartWorkersOptions
  readonly #workers = new Map<string, Worker>()
  /** By node: when it may be asked for more, after it failed. */
  readonly #pauses = new Map<string, { untilMs: number; delayMs: number }>()
  /** By node: how often it failed since it stored something. */
  readonly #failures = new Map<string, number>()
  /** Counts of tasks that are over. */
  #entries = 0
  #rawBytes = 0
  /** What the nodes said last, when they failed. */
  lastError: CacheError | undefined

  constructor(options: PartWorkersOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#workers.size === 0
  }

  /** Of entries, so far, those that had to be read again included. */
  get moved(): { readonly entries: number; readonly rawBytes: number; readonly partitions: number } {
    let { entries, rawBytes } = { entries: this.#entries, rawBytes: this.#rawBytes }
    let partitions = 0
    for (const { reply } of this.#workers.values()) {
      entries += reply?.entries ?? 0
      rawBytes += reply?.rawBytes ?? 0
      partitions += reply?.partitionsDone ?? 0
    }
    return { entries, rawBytes, partitions }
  }

  /** Asks the primaries for partitions that nobody was asked for, and all how far they are. @throws CacheError that trying again won't help */
  async turn(topology: Topology, missing: ReadonlySet<number>): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs()
    const asked = new Set([...this.#workers.values()].flatMap(({ partitions }) => [...partitions]))
    const byNode = new Map<string, { address: string; partitions: number[] }>()
    for (const partition of missing) {
      const primary = topology.partitions[partition]?.primary ?? -1
      const node = topology.nodes[primary]
      if (node === undefined || !isUp(node.state) || asked.has(partition)) continue
      const { nodeId, address } = node
      if (this.#workers.has(nodeId) || (this.#pauses.get(nodeId)?.untilMs ?? 0) > nowMs) continue
      const work = byNode.get(nodeId) ?? { address, partitions: [] }
      work.partitions.push(partition)
      byNode.set(nodeId, work)
    }
    for (const [nodeId, { address, partitions }] of byNode)
      this.#workers.set(nodeId, {
        nodeId,
        address,
        task: this.#options.nextTask(),
        partitions: new Set(partitions),
        seen: new Set(),
        silentSinceMs: undefined,
        reply: undefined,
      })
    await Promise.all([...this.#workers.values()].map((worker) => this.#ask(worker, nowMs)))
  }

  /** Nobody is to go on. Settles whether or not they hear of it. */
  async cancel(): Promise<void> {
    const workers = [...this.#workers.values()]
    this.#workers.clear()
    await Promise.all(
      workers.map((worker) =>
        this.#options.ports
          .writeParts(worker.address, { ...this.#request(worker), cancel: true })
          .catch(() => {}),
      ),
    )
  }

  async #ask(worker: Worker, nowMs: number): Promise<void> {
    const { ports, log, backup } = this.#options
    const isNew = worker.reply === undefined
    let reply: WritePartsReply
    try {
      reply = await ports.writeParts(worker.address, {
        ...this.#request(worker),
        partitions: isNew ? [...worker.partitions] : [],
      })
      worker.silentSinceMs = undefined
    } catch (error) {
      this.lastError = toCacheError(error)
      worker.silentSinceMs ??= nowMs
      // What never began may be asked for again at once.
      if (isNew || nowMs - worker.silentSinceMs > SILENCE_MS) this.#over(worker, nowMs, true)
      return
    }
    for (const part of reply.parts) {
      if (worker.seen.has(part)) continue
      worker.seen.add(part)
      this.#failures.delete(worker.nodeId)
      this.#options.stored(part)
    }
    if (reply.state === 'working') {
      this.#pauses.delete(worker.nodeId)
      worker.reply = reply
      return
    }
    const failed = reply.state === 'failed' || reply.state === 'busy'
    if (failed) {
      const error = errorOf(worker.nodeId, reply)
      this.lastError = error
      log.warn('a node could not write its part of a backup', {
        backup,
        node: worker.nodeId,
        code: error.code,
        reason: error.message,
      })
      if (reply.state === 'failed') this.#countFailure(worker.nodeId, error)
    }
    worker.reply = reply.state === 'done' ? reply : worker.reply
    this.#over(worker, nowMs, reply.state !== 'done' || worker.seen.size === 0)
  }

  /** @throws the error when there is no use in trying again */
  #countFailure(nodeId: string, error: CacheError): void {
    const failures = (this.#failures.get(nodeId) ?? 0) + 1
    this.#failures.set(nodeId, failures)
    if (HOPELESS.includes(error.code) || failures >= FAILURES_MAX) throw error
  }

  #over(worker: Worker, nowMs: number, waits: boolean): void {
    const { nodeId, reply } = worker
    this.#workers.delete(nodeId)
    if (reply?.state === 'done') {
      this.#entries += reply.entries
      this.#rawBytes += reply.rawBytes
    }
    if (!waits) return
    const delayMs = Math.min(AGAIN_MS_MAX, 2 * (this.#pauses.get(nodeId)?.delayMs ?? AGAIN_MS / 2))
    this.#pauses.set(nodeId, { untilMs: nowMs + delayMs, delayMs })
  }

  #request({ task }: Worker): WritePartsRequest {
    const { backup, place, bytesPerSecond } = this.#options
    const share = bytesPerSecond === 0 ? 0 : Math.max(1, Math.floor(bytesPerSecond / this.#workers.size))
    return { task, backup, place, bytesPerSecond: share, partitions: [], cancel: false }
  }
}

/** What is wrong for every node, and will be. */
const HOPELESS: readonly string[] = ['CONFIGURATION', 'PERMISSION_DENIED', 'INVALID_ARGUMENT', 'UNSUPPORTED']

function errorOf(nodeId: string, { code, message }: WritePartsReply): CacheError {
  return new CacheError(code === '' ? 'INTERNAL' : code, `${nodeId}: ${message}`, { node: nodeId })
}
