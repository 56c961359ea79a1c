/**
 * What goes wrong in a run, drawn at random: single faults, and the combinations that random ones rarely reach (the primary
 * dies just after a slow backup left its set; the new primary dies during its takeover; the primary is cut off from its
 * peers while clients reach it).
 *
 * Processes lose their memory only as long as every partition keeps a set that holds all that was acknowledged, so that no
 * acknowledged write may be lost, whatever else happens.
 */

import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { drainedRing, fullRing, ringChange } from '../../../src/rebalance/ring-change.ts'
import type { TestCluster, TestNode } from '../../../src/testing/test-cluster.ts'
import type { PartitionRecord, RingNode, Topology } from '../../../src/topology/topology.ts'
import { setsToHold, validInSync } from '../../../src/topology/validity.ts'
import { answeredFromTable, type Coverage } from './coverage.ts'
import type { TopologyWatch } from './topology-watch.ts'

const TEND_EVERY_MS = 200

type Fault = readonly [weight: number, name: string, strike: () => void]

export interface FaultPorts {
  readonly cluster: TestCluster
  readonly random: SeededRandom
  readonly watch: TopologyWatch
  readonly coverage: Coverage
  /** Machines of clients. */
  readonly clients: readonly string[]
  readonly everyMs: number
  say(line: string): void
}

export class Faults {
  readonly #ports: FaultPorts
  readonly #faults: readonly Fault[]
  readonly #weights: number
  readonly #founders: number
  #over = false
  count = 0

  constructor(ports: FaultPorts) {
    this.#ports = ports
    this.#founders = ports.cluster.nodes.length
    this.#faults = [
      [10, 'streams reset', () => this.#reset()],
      [10, 'client stream reset', () => this.#resetClient()],
      [10, 'one way cut', () => this.#cutOneWay()],
      [8, 'pair cut', () => this.#cutPair()],
      [8, 'node cut off', () => this.#isolate(this.#anyNode(), uniform(ports.random) < 0.5)],
      [5, 'nodes split', () => this.#split()],
      [5, 'client cut off', () => this.#cutClient()],
      [8, 'slow route', () => this.#slow()],
      [10, 'process stands still', () => this.#pause(this.#anyNode())],
      [4, 'event loop stalls', () => this.#pause(this.#anyNode(), this.#between(300, 2500))],
      [18, 'process killed', () => this.#kill(this.#anyNode())],
      [5, 'machine loses power', () => this.#kill(this.#anyNode(), 'power')],
      [3, 'node joins', () => this.#join()],
      [3, 'node drained, or taken back', () => this.#drain()],
      [3, 'wall clock set', () => this.#jump()],
      [3, 'disk slow', () => this.#slowDisk()],
      [2, 'disk full', () => this.#fullDisk()],
      [10, 'slow backup, then its primary dies', () => this.#slowBackupThenCrash()],
      [8, 'primary dies, and then its successor', () => this.#successorDies()],
      [8, 'primary cut off from its peers, clients reach it', () => this.#isolatePrimary()],
      [6, 'two of a set cut off', () => this.#cutTwoOfSet()],
      [6, 'primary stands still', () => this.#pausePrimary()],
      [14, 'primary cut off, held dead too early', () => this.#isolateDeclaredDead()],
      [10, 'primary stands still, held dead too early', () => this.#pauseDeclaredDead()],
    ]
    this.#weights = this.#faults.reduce((sum, [weight]) => sum + weight, 0)
  }

  /** Strikes again and again, until `end`. */
  start(): void {
    const { cluster, random, everyMs } = this.#ports
    cluster.time.after(everyMs * (0.2 + 1.6 * uniform(random)), () => {
      if (this.#over) return
      this.#strike()
      this.start()
    })
  }

  /** Starts anew what can't go on, as a supervisor of processes does. */
  tend(): void {
    const { cluster } = this.#ports
    cluster.time.after(TEND_EVERY_MS, () => {
      for (const node of cluster.nodes) {
        if (node.core?.failure === undefined || node.host.paused) continue
        cluster.killNode(node)
        cluster.time.after(TEND_EVERY_MS, () => {
          if (node.core === undefined) this.#restart(node)
        })
      }
      this.tend()
    })
  }

  /** Undoes everything: links heal, processes go on, dead ones are started again. */
  end(): void {
    this.#over = true
    const { cluster } = this.#ports
    cluster.network.healAll()
    for (const node of cluster.nodes) {
      node.disk.full = false
      node.disk.slowness = 1
      if (node.host.paused) node.host.resume()
      if (node.core === undefined) this.#restart(node)
    }
  }

  #strike(): void {
    let dice = uniform(this.#ports.random) * this.#weights
    for (const [weight, name, strike] of this.#faults) {
      dice -= weight
      if (dice >= 0) continue
      this.count++
      this.#ports.coverage.faults++
      this.#ports.say(`FAULT ${name}`)
      strike()
      return
    }
  }

  #reset(): void {
    const [a, b] = this.#twoNodes()
    this.#ports.cluster.network.reset(a.nodeId, b.nodeId)
  }

  #resetClient(): void {
    this.#ports.cluster.network.reset(this.#anyClient(), this.#anyNode().nodeId)
  }

  #cutOneWay(): void {
    const [a, b] = this.#twoNodes()
    this.#cut([[a.nodeId, b.nodeId]], this.#lasting())
  }

  #cutPair(): void {
    const [a, b] = this.#twoNodes()
    this.#cut(bothWays([a.nodeId], [b.nodeId]), this.#lasting())
  }

  #isolate(node: TestNode, fromClients: boolean, ms: number = this.#lasting()): void {
    const others = this.#names().filter((name) => name !== node.nodeId)
    this.#cut(bothWays([node.nodeId], fromClients ? [...others, ...this.#ports.clients] : others), ms)
  }

  #split(): void {
    const names = this.#names()
    const left = names.filter(() => uniform(this.#ports.random) < 0.5)
    const right = names.filter((name) => !left.includes(name))
    this.#cut(bothWays(left, right), this.#lasting())
  }

  #cutClient(): void {
    this.#cut(bothWays([this.#anyClient()], [this.#anyNode().nodeId]), this.#lasting())
  }

  #slow(): void {
    const { cluster } = this.#ports
    const [a, b] = this.#twoNodes()
    const extraMs = this.#between(15, 400)
    cluster.network.delay(a.nodeId, b.nodeId, extraMs)
    cluster.time.after(this.#lasting(), () => cluster.network.delay(a.nodeId, b.nodeId, 0))
  }

  #pause(node: TestNode, ms: number = this.#lasting()): void {
    if (node.host.paused || node.core === undefined) return
    this.#ports.say(`${node.nodeId} stands still for ${ms} ms`)
    node.host.pause()
    this.#ports.cluster.time.after(ms, () => {
      if (node.host.paused) node.host.resume()
    })
  }

  #kill(node: TestNode, what: 'process' | 'power' = 'process', restart = true): boolean {
    const { cluster, coverage, say, random } = this.#ports
    const { core } = node
    if (core === undefined || !this.#mayLose(core.incarnation)) return false
    say(`${node.nodeId} dies (${what})`)
    coverage.kills++
    coverage.answeredFromTable += answeredFromTable(core)
    cluster.killNode(node, { what })
    const backMs = uniform(random) < 0.3 ? this.#between(5, 200) : this.#between(200, 6000)
    if (restart) {
      cluster.time.after(backMs, () => {
        if (node.core === undefined) this.#restart(node)
      })
    }
    return true
  }

  #restart(node: TestNode): void {
    const { cluster, coverage, say } = this.#ports
    // Whoever loses the register's disks of a majority loses the register: only one disk is ever lost in a run.
    const emptied = !this.#diskLost && uniform(this.#ports.random) < 0.2
    if (emptied) this.#diskLost = true
    say(`${node.nodeId} starts again${emptied ? ' with an empty disk' : ''}`)
    coverage.restarts++
    cluster.startNode(node, { disk: emptied ? 'empty' : 'kept' })
  }

  #diskLost = false

  /** A further node joins, and a while later its share of the data is to be moved to it. */
  #join(): void {
    const { cluster, say } = this.#ports
    if (cluster.nodes.length > this.#founders + 1) return
    const added = cluster.addNode()
    say(`${added.nodeId} joins`)
    cluster.startNode(added)
    cluster.time.after(this.#between(800, 4000), () =>
      this.#changeRing((topology) => fullRing(topology, 'keep')),
    )
  }

  /** What a node holds is to move to others, as long as there are enough others; or it gets its share back. */
  #drain(): void {
    this.#changeRing((topology) => {
      const { nodes } = topology.ring
      const drained = nodes.find(({ weight }) => weight === 0)
      const chosen = drained ?? nodes[this.#between(0, nodes.length - 1)]
      const record = topology.nodes.find(
        ({ nodeId, state }) => nodeId === chosen?.nodeId && state === 'active',
      )
      const spare =
        nodes.filter(({ weight }) => weight > 0).length - (topology.groups[0]?.replicationFactor ?? 0)
      if (record === undefined || (drained === undefined && spare < 1)) return topology.ring.nodes
      this.#ports.say(`${record.nodeId} is ${drained === undefined ? 'drained' : 'taken back'}`)
      return drainedRing(topology, record, drained === undefined)
    })
  }

  #changeRing(next: (topology: Topology) => readonly RingNode[]): void {
    const driver = this.#ports.cluster.nodes.find(
      ({ core, host }) => core !== undefined && !host.paused,
    )?.core
    const topology = driver?.control.topology
    if (topology === undefined) return
    const change = ringChange(topology, next(topology))
    if (change !== undefined) driver?.control.propose(change)
  }

  #jump(): void {
    this.#anyNode().host.jumpWallClock(this.#between(-5000, 5000))
  }

  #slowDisk(): void {
    const { disk } = this.#anyNode()
    disk.slowness = this.#between(5, 60)
    this.#ports.cluster.time.after(this.#lasting(), () => {
      disk.slowness = 1
    })
  }

  #fullDisk(): void {
    const { disk, core } = this.#anyNode()
    // A node that can't write what it promises ends.
    if (core !== undefined && !this.#mayLose(core.incarnation)) return
    disk.full = true
    this.#ports.cluster.time.after(this.#lasting(), () => {
      disk.full = false
    })
  }

  #slowBackupThenCrash(): void {
    const { cluster } = this.#ports
    const partition = this.#anyPartition()
    const [primary, backup] = [this.#nodeAt(partition?.primary), this.#nodeAt(partition?.inSync[1])]
    if (primary === undefined || backup === undefined) return
    this.#cut(bothWays([primary.nodeId], [backup.nodeId]), this.#between(900, 2200))
    cluster.time.after(this.#between(900, 2600), () => {
      if (!this.#over) this.#kill(primary)
    })
  }

  #successorDies(): void {
    const { cluster } = this.#ports
    const partition = this.#anyPartition()
    const [primary, next] = [this.#nodeAt(partition?.primary), this.#nodeAt(partition?.inSync[1])]
    if (primary === undefined || next === undefined || !this.#kill(primary)) return
    cluster.time.after(this.#between(5, 900), () => {
      if (!this.#over) this.#kill(next)
    })
  }

  #isolatePrimary(): void {
    const primary = this.#nodeAt(this.#anyPartition()?.primary)
    if (primary !== undefined) this.#isolate(primary, false, this.#between(500, 6000))
  }

  #cutTwoOfSet(): void {
    const partition = this.#anyPartition()
    const [a, b] = [this.#nodeAt(partition?.inSync[0]), this.#nodeAt(partition?.inSync[1])]
    if (a === undefined || b === undefined) return
    const others = this.#names().filter((name) => name !== a.nodeId && name !== b.nodeId)
    this.#cut(bothWays([a.nodeId, b.nodeId], others), this.#between(1000, 6000))
  }

  #pausePrimary(): void {
    const primary = this.#nodeAt(this.#anyPartition()?.primary)
    if (primary !== undefined) this.#pause(primary, this.#between(300, 5000))
  }

  /**
   * A verdict that comes too early must cost nothing but a takeover: the old primary's lease may still run, what it sent is
   * still under way, and some clients hear of nobody but it.
   */
  #isolateDeclaredDead(): void {
    const primary = this.#nodeAt(this.#anyPartition()?.primary)
    if (primary === undefined || !this.#declareDead(primary)) return
    const others = this.#names().filter((name) => name !== primary.nodeId)
    const faithful = this.#ports.clients.filter(() => uniform(this.#ports.random) < 0.4)
    this.#cut(bothWays([primary.nodeId, ...faithful], others), this.#brief())
  }

  #pauseDeclaredDead(): void {
    const primary = this.#nodeAt(this.#anyPartition()?.primary)
    if (primary !== undefined && this.#declareDead(primary)) this.#pause(primary, this.#brief())
  }

  /** Somebody holds the process dead, and says so again and again for a while. */
  #declareDead(node: TestNode): boolean {
    const { cluster, say, watch } = this.#ports
    const { nodeId, core } = node
    const record = watch.newest?.nodes.find(({ incarnation }) => incarnation === core?.incarnation)
    if (core === undefined || record === undefined || !this.#mayLose(core.incarnation)) return false
    const { incarnation } = record
    say(`${nodeId} is held dead`)
    let delayMs = this.#between(30, 900)
    for (let i = 0; i < 4; i++) {
      cluster.time.after(delayMs, () => {
        const proposer = this.#over ? undefined : this.#otherThan(node)
        proposer?.core?.control.propose({
          kind: 'NodeFailed',
          process: { nodeId: record.nodeId, incarnation },
        })
      })
      delayMs += this.#between(50, 200)
    }
    return true
  }

  #otherThan(node: TestNode): TestNode | undefined {
    const others = this.#ports.cluster.nodes.filter(
      (other) => other !== node && other.core !== undefined && !other.host.paused,
    )
    return others[this.#between(0, others.length - 1)]
  }

  /** Mostly less than what peers take for silence. */
  #brief(): number {
    return uniform(this.#ports.random) < 0.6 ? this.#between(200, 1000) : this.#between(1000, 3500)
  }

  #cut(routes: readonly (readonly [string, string])[], ms: number): void {
    const { cluster, random, say } = this.#ports
    say(`cut for ${ms} ms: ${routes.map(([from, to]) => `${from}>${to}`).join(' ')}`)
    for (const [from, to] of routes) cluster.network.cut(from, to)
    const resets = uniform(random) < 0.4
    cluster.time.after(ms, () => {
      for (const [from, to] of routes) {
        if (resets) cluster.network.reset(from, to)
        cluster.network.heal(from, to)
      }
    })
  }

  /** Whether every partition keeps a valid set if this process loses its memory, beside those that have lost theirs. */
  #mayLose(incarnation: string): boolean {
    const { cluster, watch } = this.#ports
    const topology = watch.newest
    if (topology === undefined) return false
    const alive = new Set<string>()
    for (const { core, disk } of cluster.nodes)
      if (core !== undefined && core.incarnation !== incarnation && !disk.full) alive.add(core.incarnation)
    return topology.partitions.every((partition, index) => {
      const sets = setsToHold(partition)
      const left = partition.inSync.filter((node) => alive.has(topology.nodes[node]?.incarnation ?? ''))
      if (!validInSync(sets, left)) return false
      // A removal that is under way may yet be committed, after its proposer's death.
      const stays = partition.inSync.filter((node) => !this.#isBeingRemoved(index, node))
      const present = { primary: partition.primary, members: stays }
      return validInSync(
        [...sets, present],
        left.filter((node) => stays.includes(node)),
      )
    })
  }

  #isBeingRemoved(partition: number, node: number): boolean {
    return this.#ports.cluster.nodes.some(({ core }) => {
      const replica = core?.dataPlane?.replicator.replica(partition)
      return replica?.members.some((member) => member.node === node && member.proposedMs > 0) ?? false
    })
  }

  #anyPartition(): PartitionRecord | undefined {
    const partitions = this.#ports.watch.newest?.partitions
    return partitions?.[this.#between(0, partitions.length - 1)]
  }

  #nodeAt(index: number | undefined): TestNode | undefined {
    const record = index === undefined ? undefined : this.#ports.watch.newest?.nodes[index]
    return this.#ports.cluster.nodes.find(
      ({ core }) => core !== undefined && core.incarnation === record?.incarnation,
    )
  }

  #names(): string[] {
    return this.#ports.cluster.nodes.map((node) => node.nodeId)
  }

  #anyNode(): TestNode {
    const { nodes } = this.#ports.cluster
    return nodes[this.#between(0, nodes.length - 1)] as TestNode
  }

  #twoNodes(): [TestNode, TestNode] {
    const a = this.#anyNode()
    const others = this.#ports.cluster.nodes.filter((node) => node !== a)
    return [a, others[this.#between(0, others.length - 1)] as TestNode]
  }

  #anyClient(): string {
    const { clients } = this.#ports
    return clients[this.#between(0, clients.length - 1)] as string
  }

  #lasting(): number {
    return this.#between(20, 3000)
  }

  #between(min: number, max: number): number {
    return integerBetween(this.#ports.random, min, max)
  }
}

function bothWays(left: readonly string[], right: readonly string[]): [string, string][] {
  return left.flatMap((a) =>
    right.flatMap((b): [string, string][] => [
      [a, b],
      [b, a],
    ]),
  )
}
