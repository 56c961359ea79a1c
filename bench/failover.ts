/**
 * `npm run bench -- failover`: for how long do clients see errors or stalls when a primary is killed, hangs or is cut off?
 * ringcache with three nodes beside a Redis Cluster of three masters and three replicas, the same driver on both: sets and gets at
 * a fixed rate on 200 keys, each due at its moment whatever became of those before.
 *
 * Columns: *window*, the longest time in which calls failed or took longer than the threshold, without 200 ms of peace, over all
 * keys (test/chaos/report/windows.ts); *no success*, from the fault to the first answer for a key of that primary; *others*, the longest call on other keys.
 */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { integerBetween, SeededRandom } from '../src/kernel/random.ts'
import { nowMs } from '../test/chaos/monotonic.ts'
import { DirectNetwork } from '../test/chaos/network/direct-network.ts'
import { NamespaceNetwork } from '../test/chaos/network/namespace-network.ts'
import type { ChaosNetwork, End } from '../test/chaos/network/network.ts'
import { RemoteProcess } from '../test/chaos/remote.ts'
import { table } from '../test/chaos/report/report.ts'
import { runCommand } from './command.ts'
import { analyse, type FailoverFigures, type Injection } from './failover/analysis.ts'
import type { DriverMethods } from './failover/messages.ts'
import {
  type FailoverOptions,
  type FaultKind,
  parseOptions,
  type TargetName,
  USAGE,
} from './failover/options.ts'
import { RedisTarget, waiter } from './failover/redis-target.ts'
import { RingcacheTarget } from './failover/ringcache-target.ts'
import { CLIENT, type FailoverTarget } from './failover/target.ts'

const DRIVER_PROCESS = fileURLToPath(new URL('./failover/driver-process.ts', import.meta.url))
const KEYS = 200
const TAKEOVER_TIMEOUT_MS = 60_000
const WHOLE_TIMEOUT_MS = 45_000
const REDIS_NODE_TIMEOUT_MS: Readonly<Record<Exclude<TargetName, 'ringcache'>, number>> = {
  redis: 15_000,
  'redis-2s': 2_000,
}

interface Result {
  readonly target: string
  readonly fault: FaultKind
  readonly figures: FailoverFigures
  readonly errors: Readonly<Record<string, number>>
}

/** @returns the exit code: 0; 1 when a cluster did not heal; 2 for wrong arguments. */
export function run(args: readonly string[]): Promise<number> {
  return runCommand(args, { usage: USAGE, parse: parseOptions, run: measureAll })
}

async function measureAll(options: FailoverOptions): Promise<number> {
  const results: Result[] = []
  for (const name of options.targets) {
    for (const fault of options.faults) results.push(await measure(name, fault, options))
  }
  for (const line of render(results)) console.log(line)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, undefined, 2)}\n`)
  return results.every(({ figures }) => figures.problems.length === 0) ? 0 : 1
}

async function measure(name: TargetName, fault: FaultKind, options: FailoverOptions): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-failover-'))
  try {
    await using network: ChaosNetwork =
      fault === 'cut' ? await openNamespaces() : new DirectNetwork(options.firstPort)
    await network.addClient(CLIENT)
    let driver: RemoteProcess<DriverMethods> | undefined
    const view = () => {
      if (driver === undefined) throw new Error('the driver is not there yet')
      return driver.call('view', null)
    }
    await using target: FailoverTarget =
      name === 'ringcache'
        ? await RingcacheTarget.start(network, folder, options.build, view)
        : await RedisTarget.start(network, folder, REDIS_NODE_TIMEOUT_MS[name])
    await using started = new RemoteProcess<DriverMethods>(network, CLIENT, DRIVER_PROCESS)
    driver = started
    const keys = Array.from({ length: KEYS }, (_, at) => `failover-${at}`)
    await driver.call('connect', {
      kind: target.driver,
      addresses: target.addresses,
      build: options.build,
      timeoutMs: options.timeoutMs ?? (fault === 'kill' ? 2_000 : 6_000),
      keys,
      perSecond: options.perSecond,
    })
    await driver.call('run', null)
    await sleep(1_000)
    const injections: Injection[] = []
    const random = new SeededRandom(options.count)
    for (let at = 0; at < options.count; at++) {
      const injection = await inject(target, fault, keys, options, random)
      injections.push(injection)
      const { node, problem } = injection
      console.error(`${target.name}: ${fault} ${at + 1} of ${options.count}: ${node} ${problem ?? ''}`)
      if (problem !== undefined) break
    }
    const samples = await driver.call('stop', null)
    return {
      target: target.name,
      fault,
      figures: analyse(samples, injections, options.stallMs),
      errors: samples.errors,
    }
  } finally {
    if (options.logFolder !== undefined) cpSync(folder, options.logFolder, { recursive: true })
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function inject(
  target: FailoverTarget,
  fault: FaultKind,
  keys: readonly string[],
  options: FailoverOptions,
  random: SeededRandom,
): Promise<Injection> {
  const owners = await target.ownersOf(keys)
  const primaries = [...new Set(owners.filter((owner) => owner !== undefined))]
  const node = primaries[integerBetween(random, 0, primaries.length - 1)] as End
  const isHit = owners.map((owner) => owner === node)
  const hitKeys = keys.filter((_, at) => isHit[at])
  const takenOver = async (): Promise<boolean> => {
    const now = await target.ownersOf(hitKeys)
    return now.every((owner) => owner !== undefined && owner !== node)
  }
  const startMs = nowMs()
  let atMs = startMs
  switch (fault) {
    case 'kill': {
      await target.kill(node)
      atMs = nowMs()
      await sleep(options.downMs)
      await waiter(TAKEOVER_TIMEOUT_MS)(`another node took over from ${node}`, takenOver)
      await target.restart(node)
      break
    }
    case 'stop': {
      target.pause(node)
      await held(takenOver, options.holdMs)
      target.resume(node)
      break
    }
    case 'cut': {
      const others = [...target.ends.filter((end) => end !== node), CLIENT]
      for (const other of others)
        await Promise.all([target.network.cut(node, other), target.network.cut(other, node)])
      atMs = nowMs()
      await held(takenOver, options.holdMs)
      for (const other of others)
        await Promise.all([target.network.heal(node, other), target.network.heal(other, node)])
      break
    }
  }
  let problem: string | undefined
  try {
    await waiter(WHOLE_TIMEOUT_MS)('the cluster is whole again', () => target.isWhole())
    await sleep(1_000)
  } catch (error) {
    // What was seen until then still counts.
    problem = String(error)
  }
  return { node, startMs, atMs, wholeMs: nowMs(), isHit, problem }
}

/** Holds a fault until another node took over, and at least so long. */
async function held(takenOver: () => Promise<boolean>, holdMs: number): Promise<void> {
  await Promise.all([sleep(holdMs), waiter(TAKEOVER_TIMEOUT_MS)('another node took over', takenOver)])
}

async function openNamespaces(): Promise<NamespaceNetwork> {
  const problem = await NamespaceNetwork.problem()
  if (problem !== undefined) throw new Error(`--fault cut: ${problem}`)
  return NamespaceNetwork.open()
}

function render(results: readonly Result[]): readonly string[] {
  const ms = (value: number): string => `${Math.round(value)}`
  const head = [
    ...[
      'target',
      'fault',
      'n',
      'window median ms',
      'worst',
      'no success median ms',
      'worst',
      'others worst ms',
    ],
    ...['errors', 'unknown'],
  ]
  const rows = results.map(({ target, fault, figures }) => [
    target,
    fault,
    String(figures.faults),
    ms(figures.windowMedianMs),
    ms(figures.windowWorstMs),
    ms(figures.noSuccessMedianMs),
    ms(figures.noSuccessWorstMs),
    ms(figures.othersWorstMs),
    String(figures.errors),
    String(figures.unknown),
  ])
  return [
    ...table([head, ...rows]),
    ...results.map(({ target, fault, errors, figures }) =>
      [`${target}, ${fault}: ${JSON.stringify(errors)}`, ...figures.problems].join('\n'),
    ),
  ]
}
