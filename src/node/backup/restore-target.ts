/**
 * Writes restored entries as a client inside the node does: each goes to the primary of its key, and counts once a quorum holds it.
 *
 * What fails for a moment (a node that restarts, a full queue) is tried again with growing waits, for `PATIENCE_MS` in all.
 */

import type { RestoredEntry, RestoreMode, RestoreTarget, WriteResult } from '../../backup/restore-run.ts'
import type { CacheClient } from '../../client/cache-client.ts'
import { RawValue } from '../../client/codecs/raw-value.ts'
import type { Entry } from '../../client/entry.ts'
import type { SetOptions } from '../../client/options.ts'
import type { SetResult } from '../../client/write-call.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError, throwIfAborted, toCacheError } from '../../kernel/errors.ts'
import type { Version } from '../../kernel/ids.ts'
import { type Random, uniform } from '../../kernel/random.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
import type { RegionRecord } from '../../topology/topology.ts'

export interface RestoreTargetPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  regions(): readonly RegionRecord[]
  createRegion(region: RegionRecord): Promise<void>
  /** @throws CacheError UNKNOWN_REGION, UNAVAILABLE */
  client(region: string): Promise<CacheClient<RawValue>>
}

const PATIENCE_MS = 120_000
const NEW_REGION_MS = 10_000
const WAIT_MS = 50
const WAIT_MS_MAX = 2000
/** Races with others over one key. */
const RACES_MAX = 20

interface WriteOptions {
  readonly mode: RestoreMode
  readonly dryRun: boolean
  readonly signal?: AbortSignal
}

export class ClusterTarget implements RestoreTarget {
  readonly #ports: RestoreTargetPorts
  readonly #clients = new Map<string, Promise<CacheClient<RawValue>>>()

  constructor(ports: RestoreTargetPorts) {
    this.#ports = ports
  }

  regions(): readonly RegionRecord[] {
    return this.#ports.regions()
  }

  createRegion(region: RegionRecord): Promise<void> {
    return this.#ports.createRegion(region)
  }

  async write(region: string, entry: RestoredEntry, options: WriteOptions): Promise<WriteResult> {
    const { clock, scheduler, random } = this.#ports
    const begunMs = clock.monotonicMs()
    for (let waitMs = WAIT_MS; ; waitMs = Math.min(WAIT_MS_MAX, 2 * waitMs)) {
      throwIfAborted(options.signal)
      try {
        return await this.#attempt(region, entry, options)
      } catch (error) {
        const failure = toCacheError(error)
        if (clock.monotonicMs() - begunMs > patienceMs(failure)) throw failure
        const delayMs = waitMs * (0.5 + uniform(random) / 2)
        await new Promise<void>((resolve) => scheduler.after(delayMs, resolve))
      }
    }
  }

  async #attempt(region: string, entry: RestoredEntry, { mode, dryRun }: WriteOptions): Promise<WriteResult> {
    const client = await this.#client(region)
    const key = Buffer.from(entry.key.buffer, entry.key.byteOffset, entry.key.length).toString('utf8')
    if (dryRun) return this.#foresee(client, key, entry, mode)
    if (mode === 'overwrite') {
      const set = this.#setOptions(region, entry)
      if (set === undefined) return 'expired'
      await client.set(key, rawValueOf(entry), set as SetOptions & { when?: never })
      return 'written'
    }
    let when: 'absent' | { readonly version: Version } = 'absent'
    for (let race = 0; race < RACES_MAX; race++) {
      const set = this.#setOptions(region, entry)
      if (set === undefined) return 'expired'
      const result: SetResult<RawValue> = await client.set(key, rawValueOf(entry), { ...set, when })
      if (result.ok) return 'written'
      const current: Entry<RawValue> | undefined = result.current
      if (current === undefined) {
        when = 'absent'
      } else {
        if (mode === 'absent' || current.createdAt >= entry.createdAtMs) return 'kept'
        when = { version: current.version }
      }
    }
    throw new CacheError('UNAVAILABLE', `${key} is changed by others all the time`, { key })
  }

  async #foresee(
    client: CacheClient<RawValue>,
    key: string,
    { createdAtMs }: RestoredEntry,
    mode: RestoreMode,
  ): Promise<WriteResult> {
    if (mode === 'overwrite') return 'written'
    const read = { read: 'primary' } as const
    if (mode === 'absent') return (await client.has(key, read)) ? 'kept' : 'written'
    const current = await client.getEntry(key, read)
    return current !== undefined && current.createdAt >= createdAtMs ? 'kept' : 'written'
  }

  /** Undefined: it has expired by now. */
  #setOptions(
    region: string,
    { expiresAtMs, tags }: RestoredEntry,
  ): Pick<SetOptions, 'ttl' | 'tags' | 'durability'> | undefined {
    const ttlMs = expiresAtMs === 0 ? 0 : Math.floor(expiresAtMs - this.#ports.clock.wallMs())
    if (expiresAtMs !== 0 && ttlMs < 1) return undefined
    const record = this.#ports.regions().find(({ name }) => name === region)
    return {
      ttl: expiresAtMs === 0 ? 'never' : ttlMs,
      durability: record?.durability === 'all' ? 'all' : 'quorum',
      ...(tags.length === 0 ? {} : { tags }),
    }
  }

  #client(region: string): Promise<CacheClient<RawValue>> {
    let client = this.#clients.get(region)
    if (client === undefined) {
      client = this.#ports.client(region)
      this.#clients.set(region, client)
      client.catch(() => this.#clients.delete(region))
    }
    return client
  }
}

function rawValueOf({ codec, value }: RestoredEntry): RawValue {
  return new RawValue(codec, value)
}

/** For how long another attempt may help. */
function patienceMs({ code, retryable }: CacheError): number {
  // The region may be so new that the client has not heard of it.
  if (code === 'UNKNOWN_REGION') return NEW_REGION_MS
  // A write that may have happened may happen again: it is the same entry.
  return retryable || code === 'OUTCOME_UNKNOWN' ? PATIENCE_MS : 0
}
