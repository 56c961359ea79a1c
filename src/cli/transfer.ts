/** What commands that read or write all entries share: a client of raw values, Ctrl-C, a line of progress. */

import { GrpcDialer } from '../adapters/grpc/dialer.ts'
import { systemClock } from '../adapters/system/clock.ts'
import { systemRandom } from '../adapters/system/random.ts'
import { systemScheduler } from '../adapters/system/scheduler.ts'
import type { Cache } from '../client/cache.ts'
import type { RawValue } from '../client/codecs/raw-value.ts'
import { resolveSettings } from '../client/options.ts'
import { openRawClient } from '../client/raw-client.ts'
import type { Clock } from '../kernel/clock.ts'
import { every, type Scheduler } from '../kernel/scheduler.ts'
import type { AdminApi } from '../wire/admin.ts'
import { addressesOf, type SharedOptions, withCluster } from './connection.ts'

/** Each call may take so long, retries included: a cluster that loses a node gives its partitions others within that. */
const CALL_TIMEOUT = '30s'
const PROGRESS_MS = 2_000

export interface Transfer {
  readonly api: AdminApi
  readonly client: Cache<RawValue>
  readonly ports: { readonly clock: Clock; readonly scheduler: Scheduler }
  /** Fires at SIGINT and SIGTERM. A second one ends the process. */
  readonly signal: AbortSignal
}

export async function withTransfer(
  options: SharedOptions,
  run: (transfer: Transfer) => Promise<void>,
): Promise<void> {
  const nodes = await addressesOf(options)
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  await withCluster(options, async (api) => {
    const settings = resolveSettings({
      nodes,
      // The others may lag behind.
      read: 'primary',
      timeout: CALL_TIMEOUT,
      name: 'ringcache snapshot',
    })
    const ports = { clock: systemClock, scheduler: systemScheduler }
    const client = await openRawClient({ ...ports, random: systemRandom, dialer: new GrpcDialer() }, settings)
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
    try {
      await run({ api, client, ports, signal: stop.signal })
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      await client.close()
    }
  })
}

/** Prints a line to stderr now and then while `work` runs, for people only. */
export async function withProgress(
  options: SharedOptions,
  line: (elapsedMs: number) => string,
  work: () => Promise<void>,
): Promise<void> {
  const startMs = systemClock.monotonicMs()
  const timer =
    options.output === 'text'
      ? every(systemScheduler, PROGRESS_MS, () => console.error(line(systemClock.monotonicMs() - startMs)))
      : undefined
  try {
    await work()
  } finally {
    timer?.cancel()
  }
}
