/**
 * One run: a cluster under faults, the real client on it, invariants after every event, and at the end, once everything has
 * healed, the histories of all keys. The seed decides everything, so a failing run is replayed by its seed alone.
 */

import { encodeKey, partitionOf } from '../../../src/kernel/key.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { type HistoryOperation, HistoryRecorder } from '../../../src/testing/history.ts'
import { checkLinearizability, describeViolation } from '../../../src/testing/linearizability.ts'
import { TestCluster } from '../../../src/testing/test-cluster.ts'
import { Application, KeySpace } from './application.ts'
import { Churn } from './churn.ts'
import { answeredFromTable, type Coverage, noCoverage } from './coverage.ts'
import { Faults } from './faults.ts'
import { unhealed } from './healing.ts'
import { Invariants } from './invariants.ts'
import { RunLog } from './run-log.ts'
import { drawScenario, HASTY, type RunOptions, type Scenario } from './scenario.ts'
import { TopologyWatch } from './topology-watch.ts'

export interface SimulationReport {
  readonly seed: number
  readonly violations: readonly string[]
  readonly coverage: Coverage
  readonly errors: ReadonlyMap<string, number>
  readonly history: readonly HistoryOperation[]
  /** Equal for two runs of one seed. */
  readonly traceHash: string
}

/** All faults are over after this much virtual time, whatever is left to do. */
const RUN_MS_MAX = 60_000
/** Within this time after the last fault everything is replicated, settled and served again. */
const HEAL_MS_MAX = 60_000
const CHECK_STEPS_MAX = 400_000

export async function simulate(seed: number, options: RunOptions = {}): Promise<SimulationReport> {
  return new Run(drawScenario(seed, options.limits), options).run()
}

class Run {
  readonly #scenario: Scenario
  readonly #log: RunLog
  readonly #random: SeededRandom
  readonly #cluster: TestCluster
  readonly #coverage: Coverage = noCoverage()
  readonly #recorder: HistoryRecorder
  readonly #invariants: Invariants
  readonly #watch: TopologyWatch
  readonly #keys: KeySpace
  readonly #errors = new Map<string, number>()

  constructor(scenario: Scenario, options: RunOptions) {
    this.#scenario = scenario
    this.#random = new SeededRandom(scenario.seed)
    const { nodes, partitions, replicationFactor, backlogBytes, latencyMaxMs, slowShare, minInSync } =
      scenario
    const { brokenRules } = options
    this.#log = new RunLog(() => this.#cluster?.time.monotonicMs() ?? 0, options.trace)
    this.#cluster = new TestCluster({
      seed: scenario.seed,
      nodes,
      node: {
        partitionCount: partitions,
        replicationFactor,
        backlogBytes,
        onMajorityLoss: 'serve',
        ...(scenario.hasty ? { membership: HASTY } : {}),
      },
      regions: [
        { minInSync: Math.min(minInSync, replicationFactor) },
        { name: 'churn', maxEntries: 12, ttlMs: 0 },
      ],
      network: { latencyMaxMs, slowShare },
      log: (nodeId) => this.#log.of(nodeId),
      ...(brokenRules === undefined ? {} : { brokenRules }),
    })
    for (const [i, node] of this.#cluster.nodes.entries()) node.host.setClockRate(scenario.clockRates[i] ?? 1)
    this.#recorder = new HistoryRecorder(() => this.#cluster.time.monotonicMs() * 1e6)
    this.#watch = new TopologyWatch(this.#coverage, this.#log, () => this.#cluster.time.monotonicMs())
    this.#invariants = new Invariants(this.#cluster, this.#watch, this.#coverage, this.#log)
    this.#keys = new KeySpace(scenario.keys)
  }

  async run(): Promise<SimulationReport> {
    const { time } = this.#cluster
    try {
      await this.#cluster.start()
      time.afterEvent = () => this.#invariants.check()
      await this.#operate()
      await this.#heal()
    } catch (error) {
      this.#log.violation(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    this.#recorder.close()
    this.#checkHistory()
    return this.#report()
  }

  async #operate(): Promise<void> {
    const { clients, faultEveryMs, operations, faultsMin, churn } = this.#scenario
    const applications: Application[] = []
    for (let i = 0; i < clients; i++) applications.push(await this.#application(i))
    const faults = new Faults({
      cluster: this.#cluster,
      random: new SeededRandom(this.#random.uint32()),
      watch: this.#watch,
      coverage: this.#coverage,
      clients: applications.map((_, i) => `client-${i}`),
      everyMs: faultEveryMs,
      say: (line) => this.#log.say(line),
    })
    const churning = churn ? await this.#churn() : undefined
    faults.start()
    faults.tend()
    const untilMs = this.#cluster.time.monotonicMs() + RUN_MS_MAX
    const enough = (): boolean =>
      this.#cluster.time.monotonicMs() > untilMs ||
      (faults.count >= faultsMin && applications.reduce((sum, one) => sum + one.operations, 0) >= operations)
    const work = applications.map((one) => one.run(enough))
    if (churning !== undefined) work.push(churning.run(enough))
    await this.#cluster.run(Promise.all(work), RUN_MS_MAX + 20_000)
    faults.end()
    this.#log.say('FAULTS ARE OVER')
    for (const one of applications) {
      this.#coverage.operations += one.operations
      this.#coverage.unknown += one.unknown
      this.#coverage.weakReads += one.weakReads
      for (const [code, count] of one.errors) this.#errors.set(code, (this.#errors.get(code) ?? 0) + count)
    }
  }

  async #application(process: number): Promise<Application> {
    const { timeoutMs, thinkMaxMs } = this.#scenario
    const name = `client-${process}`
    const cache = await this.#cluster.connect({ timeout: timeoutMs, connectTimeout: 20_000 }, name)
    return new Application({
      process,
      cache,
      host: this.#cluster.clientHost(name),
      random: new SeededRandom(this.#random.uint32()),
      recorder: this.#recorder,
      keys: this.#keys,
      thinkMaxMs,
      timeoutMs,
      violation: (what) => this.#log.violation(what),
      say: this.#log.isRead ? (line) => this.#log.say(line) : undefined,
    })
  }

  async #churn(): Promise<Churn> {
    const cache = await this.#cluster.connect({ region: 'churn', timeout: 1000 }, 'churner')
    return new Churn(
      cache,
      this.#cluster.clientHost('churner'),
      new SeededRandom(this.#random.uint32()),
      (what) => this.#log.violation(what),
    )
  }

  /** Invariant 7: everything is replicated, settled and served again, within a bound; then each key is read once more. */
  async #heal(): Promise<void> {
    const startMs = this.#cluster.time.monotonicMs()
    let problems = unhealed(this.#cluster)
    while (problems.length > 0 && this.#cluster.time.monotonicMs() - startMs < HEAL_MS_MAX) {
      await this.#cluster.time.advance(100)
      problems = unhealed(this.#cluster)
    }
    for (const problem of problems.slice(0, 5)) this.#log.violation(`not healed: ${problem}`)
    if (problems.length === 0)
      this.#log.say(`healed after ${Math.round(this.#cluster.time.monotonicMs() - startMs)} ms`)
    const reader = await this.#application(this.#scenario.clients)
    const answered = await this.#cluster.run(reader.readAll(), 120_000)
    if (!answered && problems.length === 0) this.#log.violation('a key can not be read after all has healed')
  }

  #checkHistory(): void {
    const { partitions } = this.#scenario
    // What was acknowledged before a partition started over may be lost then; until then it holds.
    const kept = this.#recorder.operations.flatMap((operation) => {
      const recoveredMs = this.#watch.recovered.get(partitionOfKey(operation.key, partitions))
      return recoveredMs === undefined ? [operation] : before(operation, recoveredMs * 1e6)
    })
    const report = checkLinearizability(kept, { stepsMax: CHECK_STEPS_MAX })
    this.#coverage.checkerSteps += report.steps
    for (const violation of report.violations) this.#log.violation(describeViolation(violation))
    for (const key of report.undecided) this.#log.violation(`the history of ${key} could not be decided`)
  }

  #report(): SimulationReport {
    const { time, nodes, trace } = this.#cluster
    const coverage = this.#coverage
    coverage.events = time.events
    coverage.virtualMs = Math.round(time.monotonicMs())
    coverage.errors = [...this.#errors.values()].reduce((sum, count) => sum + count, 0)
    for (const { core } of nodes) coverage.answeredFromTable += answeredFromTable(core)
    this.#cluster.close()
    return {
      seed: this.#scenario.seed,
      violations: this.#log.violations,
      coverage,
      errors: this.#errors,
      history: this.#recorder.operations,
      traceHash: trace.digest,
    }
  }
}

/** The operation as it stood at `time`. */
function before(operation: HistoryOperation, time: number): HistoryOperation[] {
  if (operation.call >= time) return []
  if (operation.return !== null && operation.return < time) return [operation]
  return [{ ...operation, output: {}, return: null, outcome: 'unknown' }]
}

function partitionOfKey(key: string, partitions: number): number {
  const bytes = new Uint8Array(key.length * 3)
  return partitionOf(bytes, 0, encodeKey(key, bytes, 0), 0, partitions)
}
