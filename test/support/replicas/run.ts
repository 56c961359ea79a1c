/** One random run of a cluster of replicas: faults, clients, invariants after every event. The seed decides everything. */

import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import { HistoryRecorder } from '../../../src/testing/history.ts'
import { checkLinearizability, describeViolation } from '../../../src/testing/linearizability.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { Driver } from './driver.ts'
import { ReplicaInvariants } from './invariants.ts'
import { ReplicaCluster } from './replica-cluster.ts'
import { WorkloadClient } from './workload.ts'

export interface RunReport {
  readonly seed: number
  readonly violations: readonly string[]
  readonly operations: number
  readonly answered: number
  readonly commits: number
  readonly recoveries: number
  readonly takeovers: number
  readonly synced: number
  readonly undecided: boolean
}

export interface RunOptions {
  readonly brokenRules?: BrokenRules
  readonly trace?: (line: string) => void
}

const FAULTS_MS = 6000
const QUIET_MS = 9000
const MIXES: readonly (readonly string[])[] = [
  ['crash'],
  ['pause', 'suspect'],
  ['cut', 'link'],
  ['suspect', 'link', 'reset'],
  ['crash', 'pause', 'cut', 'link', 'suspect', 'reset', 'quick'],
]

export async function runReplicas(seed: number, options: RunOptions = {}): Promise<RunReport> {
  const random = new SeededRandom(seed)
  const count = integerBetween(random, 3, 5)
  const replicas = Math.min(count, [1, 2, 3, 3, 3, 4][integerBetween(random, 0, 5)] as number)
  const partitions = 2
  const smallBacklog = uniform(random) < 0.3
  const cluster = new ReplicaCluster({
    nodes: count,
    replicas,
    partitions,
    seed: random.uint32(),
    network: { slowShare: uniform(random) < 0.3 ? 0.1 : 0.02 },
    node: { backlogBytes: smallBacklog ? 3000 : 8 * 1024 * 1024, timeoutMaxMs: 10_000 },
    ...(options.brokenRules === undefined ? {} : { brokenRules: options.brokenRules }),
  })
  for (const host of cluster.hosts) host.setClockRate(0.98 + 0.04 * uniform(random))
  const { trace } = options
  cluster.register.onCommit = (topology, transforms, by) => {
    for (const { kind } of transforms) if (kind === 'Recovered') invariants.lossAllowed = true
    const sets = topology.partitions.map(
      (one) =>
        `e${one.partitionEpoch} P${one.primary} [${one.inSync}] L[${one.learners.map((l) => l.node)}] U${one.unsettled.length}`,
    )
    trace?.(
      `${Math.round(cluster.time.monotonicMs())} ${by} ${transforms.map((one) => one.kind)} -> ${sets.join(' | ')}`,
    )
  }
  const invariants = new ReplicaInvariants(cluster)
  cluster.time.afterEvent = () => invariants.check()
  await cluster.start()
  const history = new HistoryRecorder(() => cluster.time.monotonicMs() * 1e6)
  const keys = ['k0', 'k1', 'k2', 'count0', 'count1', 'count2']
  const clients = [0, 1, 2].map(
    (at) =>
      new WorkloadClient(
        cluster,
        new SimulatedHost(`client-${at}`, cluster.time),
        at,
        new SeededRandom(random.uint32()),
        keys,
        partitions,
        { history, acknowledged: (write) => invariants.acknowledged(write) },
      ),
  )
  const driver = new Driver(cluster, new SeededRandom(random.uint32()), {
    replicas,
    failAfterMs: integerBetween(random, 100, 400),
    recoverAfterMs: 1000,
  })
  const faults = new Faults(cluster, new SeededRandom(random.uint32()), trace)
  faults.begin(MIXES[integerBetween(random, 0, MIXES.length - 1)] as readonly string[])
  const startMs = cluster.time.monotonicMs()
  const work = Promise.all(clients.map((client) => client.run(startMs + FAULTS_MS + QUIET_MS - 4000)))
  await cluster.time.advance(FAULTS_MS)
  faults.end()
  driver.restless = false
  await cluster.time.until(work, 60_000)
  await cluster.time.advance(Math.max(0, startMs + FAULTS_MS + QUIET_MS - cluster.time.monotonicMs()))
  driver.stopped = true
  await cluster.time.advance(1500)
  await cluster.time.until((clients[0] as WorkloadClient).readAll(), 60_000)
  invariants.settled(replicas)
  history.close()
  const violations = [...invariants.violations]
  let undecided = false
  if (!invariants.lossAllowed) {
    const report = checkLinearizability(history.operations, { stepsMax: 300_000 })
    undecided = report.verdict === 'undecided'
    for (const violation of report.violations) violations.push(describeViolation(violation))
  }
  const planes = [...cluster.nodes, ...cluster.dead].flatMap((node) => node?.plane ?? [])
  cluster.close()
  return {
    seed,
    violations,
    operations: clients.reduce((sum, client) => sum + client.operations, 0),
    answered: clients.reduce((sum, client) => sum + client.answered, 0),
    commits: cluster.register.history.length,
    recoveries: driver.recoveries,
    takeovers: planes.reduce((sum, plane) => sum + plane.replicator.leadership.takeovers, 0),
    synced: planes.reduce((sum, plane) => sum + plane.replicator.syncs.completed, 0),
    undecided,
  }
}

class Faults {
  readonly #cluster: ReplicaCluster
  readonly #random: SeededRandom
  readonly #trace: ((line: string) => void) | undefined
  #over = false

  constructor(cluster: ReplicaCluster, random: SeededRandom, trace: ((line: string) => void) | undefined) {
    this.#cluster = cluster
    this.#random = random
    this.#trace = trace
  }

  begin(mix: readonly string[]): void {
    const everyMs = [150, 250, 400, 700][integerBetween(this.#random, 0, 3)] as number
    const next = (): void => {
      this.#cluster.time.after(everyMs * (0.3 + 1.4 * uniform(this.#random)), () => {
        if (this.#over) return
        this.#strike(mix[integerBetween(this.#random, 0, mix.length - 1)] as string)
        next()
      })
    }
    next()
  }

  end(): void {
    this.#over = true
    this.#trace?.('quiet')
    const { network, nodes } = this.#cluster
    network.healAll()
    nodes.forEach((node, at) => {
      if (node === undefined) this.#cluster.restart(at)
      else node.host.resume()
    })
  }

  #strike(kind: string): void {
    const { nodes, network, time } = this.#cluster
    const random = this.#random
    const primary = this.#cluster.primaryOf(integerBetween(random, 0, 1))
    const at = primary >= 0 && uniform(random) < 0.4 ? primary : integerBetween(random, 0, nodes.length - 1)
    const other = (at + integerBetween(random, 1, nodes.length - 1)) % nodes.length
    const node = nodes[at]
    this.#trace?.(`${Math.round(time.monotonicMs())} ${kind} n${at} n${other}`)
    switch (kind) {
      case 'crash':
      case 'quick': {
        const up = nodes.filter((one) => one !== undefined).length
        if (node === undefined || (up <= nodes.length / 2 + 1 && uniform(random) > 0.2)) return
        this.#cluster.crash(at)
        time.after(
          kind === 'quick' ? integerBetween(random, 1, 30) : integerBetween(random, 50, 1500),
          () => {
            if (this.#cluster.nodes[at] === undefined && !this.#over) this.#cluster.restart(at)
          },
        )
        return
      }
      case 'pause':
        if (node === undefined || node.host.paused) return
        node.host.pause()
        time.after(integerBetween(random, 60, 1800), () => node.host.resume())
        return
      case 'cut': {
        const lasting =
          uniform(random) < 0.15 ? integerBetween(random, 1500, 4000) : integerBetween(random, 100, 1500)
        nodes.forEach((_, to) => {
          if (to !== at) this.#cluster.cut(at, to)
        })
        time.after(lasting, () => {
          nodes.forEach((_, to) => {
            if (to !== at) this.#cluster.heal(at, to)
          })
        })
        return
      }
      case 'link': {
        const both = uniform(random) < 0.6
        network.cut(`n${at}`, `n${other}`)
        if (both) network.cut(`n${other}`, `n${at}`)
        time.after(integerBetween(random, 50, 1500), () => this.#cluster.heal(at, other))
        return
      }
      case 'reset':
        network.reset(`n${at}`, `n${other}`)
        return
      case 'suspect':
        if (node !== undefined) this.#cluster.fail(node)
    }
  }
}
