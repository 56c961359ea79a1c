/**
 * One run: a cluster under faults, workers on it, invariants after every event. The seed decides everything, so a failing run
 * is replayed by its seed alone.
 */

import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { TestCluster, type TestNode } from '../../../src/testing/test-cluster.ts'
import { Invariants } from './invariants.ts'
import { type KeyHistory, keyHistory, Worker } from './worker.ts'

export interface SimulationReport {
  readonly seed: number
  readonly violations: readonly string[]
  readonly operations: number
  readonly unknown: number
  readonly rejected: number
  readonly faults: number
  readonly killed: number
  readonly lagging: number
  readonly retries: number
  readonly checks: number
  /** Equal for two runs of one seed. */
  readonly traceHash: number
}

const PARTITIONS = 8
const SHARED_KEYS = 6
const OPERATIONS = 330

export async function simulate(seed: number): Promise<SimulationReport> {
  const random = new SeededRandom(seed)
  const smallBacklog = uniform(random) < 0.25
  const cluster = new TestCluster({
    seed,
    node: { partitionCount: PARTITIONS, backlogBytes: smallBacklog ? 4096 : 8 * 1024 * 1024 },
    regions: [{ ttlMs: 0, maxEntries: uniform(random) < 0.3 ? 12 : 0 }],
  })
  let traceHash = 0x811c9dc5
  cluster.network.onDelivery = (from, to, body) => {
    traceHash = mix(traceHash, from.length * 31 + to.length)
    traceHash = mix(traceHash, Math.round(cluster.time.monotonicMs() * 1000))
    for (let i = 0; i < Math.min(body.length, 64); i++) traceHash = mix(traceHash, body[i] as number)
  }
  await cluster.start()
  const invariants = new Invariants(cluster)
  cluster.time.afterEvent = () => invariants.check()

  const workers: Worker[] = []
  const histories = new Map<string, KeyHistory>()
  const names = ['a', 'b', 'c']
  for (let i = 0; i < SHARED_KEYS; i++) {
    for (const key of [`shared-${i}`, `counter-${i}`]) histories.set(key, keyHistory(key, PARTITIONS))
  }
  for (const name of names) histories.set(`own-${name}`, keyHistory(`own-${name}`, PARTITIONS))
  let retries = 0
  const evicts = cluster.nodes.some((node) => (node.core?.options.regions[0]?.maxEntries ?? 0) > 0)
  for (const name of names) {
    workers.push(
      new Worker(name, cluster, new SeededRandom(random.uint32()), histories, {
        acknowledged: ({ partition, sequence }) => invariants.acknowledged(partition, sequence),
        violation: (what) => {
          // With a budget that small, what is missing may have been evicted.
          if (!evicts || !what.includes('is gone')) invariants.violations.push(what)
        },
        retried: () => {
          retries++
        },
      }),
    )
  }
  const faults = new Faults(cluster, invariants, random)
  faults.schedule()
  await cluster.time.until(
    Promise.all(workers.map((worker) => worker.run(OPERATIONS / names.length))),
    600_000,
  )
  faults.end()
  await cluster.time.advance(8000)
  invariants.settled()
  checkCounters(histories, invariants, evicts)
  let lagging = 0
  for (const node of cluster.nodes) lagging += node.core?.status().laggingReplicas ?? 0
  cluster.close()
  return {
    seed,
    violations: invariants.violations,
    operations: workers.reduce((sum, worker) => sum + worker.operations, 0),
    unknown: workers.reduce((sum, worker) => sum + worker.unknown, 0),
    rejected: workers.reduce((sum, worker) => sum + worker.rejected, 0),
    faults: faults.count,
    killed: invariants.dead.length,
    lagging,
    retries,
    checks: invariants.checks,
    traceHash,
  }
}

/** Each acknowledged increment counts once, each unknown one at most once. */
function checkCounters(
  histories: ReadonlyMap<string, KeyHistory>,
  invariants: Invariants,
  evicts: boolean,
): void {
  for (const history of histories.values()) {
    if (!history.key.startsWith('counter')) continue
    const { sums, unknownIncrements } = history
    if (evicts) continue
    if (new Set(sums).size !== sums.length)
      invariants.violations.push(`${history.key}: two increments saw the same sum`)
    const highest = Math.max(0, ...sums)
    if (highest > sums.length + unknownIncrements) {
      invariants.violations.push(
        `${history.key} reached ${highest} by ${sums.length} increments and ${unknownIncrements} of unknown outcome`,
      )
    }
  }
}

/** Draws faults at random times and undoes them. */
class Faults {
  readonly #cluster: TestCluster
  readonly #invariants: Invariants
  readonly #random: SeededRandom
  #over = false
  count = 0

  constructor(cluster: TestCluster, invariants: Invariants, random: SeededRandom) {
    this.#cluster = cluster
    this.#invariants = invariants
    this.#random = random
  }

  schedule(): void {
    this.#cluster.time.after(50 + uniform(this.#random) * 400, () => {
      if (this.#over) return
      this.#strike()
      this.count++
      this.schedule()
    })
  }

  end(): void {
    this.#over = true
    this.#cluster.network.healAll()
    for (const node of this.#cluster.nodes) if (node.host.paused) node.host.resume()
  }

  #strike(): void {
    const { network, time, nodes } = this.#cluster
    const random = this.#random
    const a = this.#pick(nodes)
    const b = this.#pick(nodes.filter((node) => node !== a))
    const dice = uniform(random)
    const lasting = integerBetween(random, 20, 2500)
    if (dice < 0.35) {
      network.reset(a.nodeId, b.nodeId)
    } else if (dice < 0.65) {
      network.cut(a.nodeId, b.nodeId)
      if (uniform(random) < 0.5) network.cut(b.nodeId, a.nodeId)
      time.after(lasting, () => {
        network.heal(a.nodeId, b.nodeId)
        network.heal(b.nodeId, a.nodeId)
      })
    } else if (dice < 0.8) {
      network.reset('abc'[integerBetween(random, 0, 2)] as string, a.nodeId)
    } else if (dice < 0.95) {
      if (a.host.paused) return
      a.host.pause()
      time.after(lasting, () => {
        if (a.host.paused) a.host.resume()
      })
    } else if (this.#invariants.dead.length === 0 && a.core !== undefined) {
      const dead = this.#cluster.killNode(a)
      if (dead !== undefined) this.#invariants.dead.push(dead)
      time.after(lasting, () => {
        if (!this.#over && uniform(random) < 0.5) this.#cluster.startNode(a)
      })
    }
  }

  #pick(nodes: readonly TestNode[]): TestNode {
    return nodes[integerBetween(this.#random, 0, nodes.length - 1)] as TestNode
  }
}

function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193) >>> 0
}
