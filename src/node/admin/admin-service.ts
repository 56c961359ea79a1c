/**
 * Answers operators, on any node: it reads the newest topology the node knows, and has changes committed through the control
 * plane. A change is made again on the record of the next epoch until that shows it, so that a race with another change ends
 * as one of the two orders.
 */

import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import { every, type Scheduler, type Timer } from '../../kernel/scheduler.ts'
import { checkCluster, countPartitions, type Finding } from '../../rebalance/cluster-check.ts'
import { Pace, progressOf } from '../../rebalance/progress.ts'
import { cancelledRing, drainedRing, fullRing, ringChange } from '../../rebalance/ring-change.ts'
import { applyAll } from '../../topology/apply-transform.ts'
import {
  isUp,
  type NodeIndex,
  type NodeRecord,
  type RegionRecord,
  type RingNode,
  type Topology,
} from '../../topology/topology.ts'
import type { NodeAt, Transform } from '../../topology/transforms.ts'
import { isBlocked, lacksValidSet } from '../../topology/validity.ts'
import type * as api from '../../wire/admin.ts'
import type * as jobs from '../../wire/admin-jobs.ts'
import type * as observability from '../../wire/admin-observability.ts'
import type { ClusterControl } from '../cluster-control.ts'
import { DEFAULT_REGION } from '../options.ts'
import { withSettings } from './region-settings.ts'
import { copiesToBuild, loadsView, nodeView, plannedPlacement, progressView, regionView } from './views.ts'

export interface AdminPorts {
  readonly control: ClusterControl
  readonly nodeId: string
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly jobs: jobs.JobsApi
  readonly observability: observability.ObservabilityApi
  /** Undefined: this node makes no backups. */
  readonly backups?: BackupCalls
}

/** Backups, as operators and other nodes ask for them. Each throws a CacheError. */
export interface BackupCalls {
  start(request: api.StartBackupRunRequest): api.BackupRunMessage
  look(request: api.BackupRunRequest): api.BackupRunMessage
  writeParts(request: api.WritePartsRequest): api.WritePartsReply
}

const ATTEMPTS_MAX = 5
const PACE_MS = 1000

export class AdminService implements api.AdminApi {
  readonly #ports: AdminPorts
  readonly #pace = new Pace()
  readonly #timer: Timer

  constructor(ports: AdminPorts) {
    this.#ports = ports
    this.#timer = every(ports.scheduler, PACE_MS, () => {
      const topology = ports.control.topology()
      if (topology !== undefined)
        this.#pace.observe(progressOf(topology).copiesLeft, ports.clock.monotonicMs())
    })
  }

  close(): void {
    this.#timer.cancel()
  }

  async status(): Promise<api.StatusReply> {
    const topology = this.#topology()
    const present = topology.nodes.filter(({ state }) => state !== 'gone')
    const { all, full, blocked, unsettled } = countPartitions(topology)
    return {
      clusterId: topology.clusterId,
      clusterName: topology.clusterName,
      epoch: topology.epoch,
      nodeId: this.#ports.nodeId,
      nodes: present.length,
      nodesUp: present.filter(({ state }) => isUp(state)).length,
      partitions: all,
      partitionsFull: full,
      partitionsBlocked: blocked,
      partitionsUnsettled: unsettled,
      voters: topology.voters.map(({ nodeId }) => nodeId),
      regions: topology.regions.map(({ name }) => name),
      safe: !this.#findings(topology).some(({ unsafe }) => unsafe),
      progress: this.#progress(topology),
    }
  }

  async clusterCheck(): Promise<api.ClusterCheckReply> {
    const findings = this.#findings(this.#topology())
    return {
      safe: !findings.some(({ unsafe }) => unsafe),
      findings: findings.map(({ severity, code, message, count }) => ({ severity, code, message, count })),
    }
  }

  async clusterSafe(): Promise<api.ClusterSafeReply> {
    const reasons = this.#findings(this.#topology())
      .filter(({ unsafe }) => unsafe)
      .map(({ message }) => message)
    return { safe: reasons.length === 0, reasons }
  }

  async rebalance({ action, includeDrained }: api.RebalanceRequest): Promise<api.RebalanceReply> {
    const target = (topology: Topology): RingNode[] =>
      fullRing(topology, includeDrained ? 'take back' : 'keep')
    switch (action) {
      case 'SHOW':
        break
      case 'START':
        await this.#change((topology) => [ringChange(topology, target(topology)), paused(topology, false)])
        break
      case 'DRY_RUN': {
        const topology = this.#topology()
        const planned = plannedPlacement(topology, target(topology))
        return {
          progress: this.#progress(topology),
          copiesToMove: copiesToBuild(topology, planned),
          loads: loadsView(topology, planned),
        }
      }
      case 'PAUSE':
      case 'RESUME':
        await this.#change((topology) => [paused(topology, action === 'PAUSE')])
        break
      case 'CANCEL':
        await this.#cancel()
        break
      default:
        throw new CacheError('INVALID_ARGUMENT', `there is no action ${String(action)} of a rebalance`)
    }
    const topology = this.#topology()
    return { progress: this.#progress(topology), copiesToMove: 0, loads: loadsView(topology, topology.ring) }
  }

  async recover(): Promise<api.RecoverReply> {
    let count = 0
    await this.#change((topology) => {
      const partitions = lostPartitions(topology, (partition, load) =>
        this.#ports.control.heirOf(topology, partition, load),
      )
      count = Math.max(count, partitions.length)
      return partitions.length === 0 ? [] : [{ kind: 'Recovered', partitions }]
    })
    return { partitions: count }
  }

  async listNodes(): Promise<api.ListNodesReply> {
    const topology = this.#topology()
    const present = topology.nodes.filter(({ state }) => state !== 'gone')
    return { nodes: present.map((node) => this.#view(topology, node)) }
  }

  async getNode({ nodeId }: api.NodeRequest): Promise<api.NodeReply> {
    return this.#reply(nodeId)
  }

  async drainNode({ nodeId, undo, force }: api.UndoableNodeRequest): Promise<api.NodeReply> {
    await this.#change((topology) => {
      const node = find(topology, nodeId)
      const listed = topology.ring.nodes.find((one) => one.nodeId === nodeId)
      if (listed !== undefined && (listed.weight === 0) !== undo) return []
      if (!undo && !force) requireEnough(topology, nodeId)
      return [ringChange(topology, drainedRing(topology, node, !undo))]
    })
    return this.#reply(nodeId)
  }

  async decommissionNode({ nodeId, undo, force }: api.UndoableNodeRequest): Promise<api.NodeReply> {
    await this.#change((topology) => {
      const node = find(topology, nodeId)
      const { state, incarnation } = node
      if (state === 'failed')
        throw new CacheError(
          'INVALID_ARGUMENT',
          `${nodeId} has failed: start it again first, or give it up with \`ringcache node remove ${nodeId}\``,
        )
      const leaving = state === 'leaving'
      if (!undo && !force && !leaving) requireEnough(topology, nodeId)
      return [
        leaving === undo
          ? { kind: 'NodeLeaving', process: { nodeId: node.nodeId, incarnation }, leaving: !undo }
          : undefined,
        ringChange(topology, drainedRing(topology, node, !undo)),
      ]
    })
    const node = this.#topology().nodes.find((one) => one.nodeId === nodeId && one.state !== 'gone')
    // It held nothing, and is out of the record already.
    return node === undefined ? { node: this.#left(nodeId) } : this.#reply(nodeId)
  }

  async removeNode({ nodeId }: api.NodeRequest): Promise<api.Nothing> {
    find(this.#topology(), nodeId)
    await this.#change((topology) => {
      const node = topology.nodes.find((one) => one.nodeId === nodeId && one.state !== 'gone')
      if (node === undefined) return []
      if (node.state === 'active')
        throw new CacheError(
          'INVALID_ARGUMENT',
          `${nodeId} is up: use \`ringcache node decommission ${nodeId}\`, which moves its data away first`,
        )
      return [{ kind: 'NodeRemoved', process: { nodeId: node.nodeId, incarnation: node.incarnation } }]
    })
    return {}
  }

  async listRegions(): Promise<api.ListRegionsReply> {
    return { regions: this.#topology().regions.map(regionView) }
  }

  async createRegion({ name, group, settings }: api.CreateRegionRequest): Promise<api.RegionReply> {
    if (this.#topology().regions.some((region) => region.name === name))
      throw new CacheError(
        'INVALID_ARGUMENT',
        `the region ${name} exists already; \`region alter\` changes it`,
      )
    const region = withSettings({ ...DEFAULT_REGION, name, group: group || 'default' }, settings)
    await this.#change((topology) =>
      topology.regions.some((one) => one.name === name) ? [] : [{ kind: 'RegionCreated', region }],
    )
    return { region: regionView(findRegion(this.#topology(), name)) }
  }

  async alterRegion({ name, settings }: api.AlterRegionRequest): Promise<api.RegionReply> {
    await this.#change((topology) => {
      const known = findRegion(topology, name)
      const altered = withSettings(known, settings)
      if (JSON.stringify(altered) === JSON.stringify(withSettings(known, null))) return []
      return [{ kind: 'RegionAltered', region: { regionId: known.regionId, ...altered } }]
    })
    return { region: regionView(findRegion(this.#topology(), name)) }
  }

  async dropRegion({ name }: api.DropRegionRequest): Promise<api.Nothing> {
    if (name === 'default')
      throw new CacheError(
        'INVALID_ARGUMENT',
        'the region default is always there; `region alter` changes it',
      )
    const { regionId } = findRegion(this.#topology(), name)
    await this.#change((topology) =>
      topology.regions.some((region) => region.regionId === regionId)
        ? [{ kind: 'RegionDropped', regionId }]
        : [],
    )
    return {}
  }

  async startBackupRun(request: api.StartBackupRunRequest): Promise<api.BackupRunMessage> {
    return this.#backups.start(request)
  }

  async getBackupRun(request: api.BackupRunRequest): Promise<api.BackupRunMessage> {
    return this.#backups.look(request)
  }

  async writeParts(request: api.WritePartsRequest): Promise<api.WritePartsReply> {
    return this.#backups.writeParts(request)
  }

  get #backups(): BackupCalls {
    const { backups } = this.#ports
    if (backups === undefined) throw new CacheError('UNSUPPORTED', 'this node makes no backups')
    return backups
  }

  listJobs(request: api.Nothing): Promise<jobs.ListJobsReply> {
    return this.#ports.jobs.listJobs(request)
  }

  runJob(request: jobs.RunJobRequest): Promise<jobs.RunJobReply> {
    return this.#ports.jobs.runJob(request)
  }

  cancelJob(request: jobs.JobRequest): Promise<api.Nothing> {
    return this.#ports.jobs.cancelJob(request)
  }

  jobHistory(request: jobs.JobHistoryRequest): Promise<jobs.JobHistoryReply> {
    return this.#ports.jobs.jobHistory(request)
  }

  setJob(request: jobs.SetJobRequest): Promise<api.Nothing> {
    return this.#ports.jobs.setJob(request)
  }

  dropJob(request: jobs.JobRequest): Promise<api.Nothing> {
    return this.#ports.jobs.dropJob(request)
  }

  listEvents(request: observability.ListEventsRequest): Promise<observability.ListEventsReply> {
    return this.#ports.observability.listEvents(request)
  }

  getMetrics(request: api.Nothing): Promise<observability.GetMetricsReply> {
    return this.#ports.observability.getMetrics(request)
  }

  /** What is under way is given up, and what was moved moves back. */
  async #cancel(): Promise<void> {
    const start = this.#topology()
    if (progressOf(start).copiesTotal === 0)
      throw new CacheError('INVALID_ARGUMENT', 'there is no rebalance to cancel')
    const target = cancelledRing(start)
    await this.#change((topology) => {
      // Somebody else's change since then is not taken back.
      if (topology.ring.nodes !== start.ring.nodes) {
        const same = JSON.stringify(topology.ring.nodes) === JSON.stringify(start.ring.nodes)
        if (!same) return []
      }
      return [ringChange(topology, target)]
    })
  }

  /**
   * Has changes committed until there is nothing left to change.
   * @throws CacheError INVALID_ARGUMENT when the record refuses one, UNAVAILABLE when others keep changing it
   */
  async #change(changesFor: (topology: Topology) => (Transform | undefined)[]): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const topology = this.#topology()
      const changes = changesFor(topology).filter((change) => change !== undefined)
      if (changes.length === 0) return
      const reason = applyAll(topology, changes).refused.find((one) => one !== undefined)
      if (reason !== undefined) throw new CacheError('INVALID_ARGUMENT', reason)
      await this.#ports.control.propose(changes)
    }
    const topology = this.#topology()
    if (changesFor(topology).every((change) => change === undefined)) return
    throw new CacheError('UNAVAILABLE', 'the cluster changed meanwhile, again and again: try once more')
  }

  #topology(): Topology {
    const topology = this.#ports.control.topology()
    if (topology === undefined)
      throw new CacheError('NOT_READY', 'the cluster is still starting: no topology is agreed on yet')
    return topology
  }

  #findings(topology: Topology): Finding[] {
    return checkCluster(topology, (nodeId, incarnation) => this.#liveness(nodeId, incarnation))
  }

  #liveness(nodeId: string, incarnation: string): string {
    const member = this.#ports.control
      .members()
      .find((one) => one.nodeId === nodeId && one.incarnation === incarnation)
    return member?.liveness ?? (nodeId === this.#ports.nodeId ? 'alive' : 'unknown')
  }

  #progress(topology: Topology): api.ProgressMessage {
    return progressView(topology, this.#pace, this.#ports.clock.monotonicMs())
  }

  #view(topology: Topology, node: NodeRecord): api.NodeViewMessage {
    return nodeView(topology, node, this.#liveness(node.nodeId, node.incarnation))
  }

  #reply(nodeId: string): api.NodeReply {
    const topology = this.#topology()
    return { node: this.#view(topology, find(topology, nodeId)) }
  }

  #left(nodeId: string): api.NodeViewMessage {
    const none = { incarnation: '', address: '', zone: '', liveness: 'left', drained: true, voter: false }
    return { nodeId, state: 'gone', ...none, weight: 0, primaries: 0, backups: 0, learners: 0 }
  }
}

/** @throws CacheError INVALID_ARGUMENT when the others could not hold all copies of a partition */
function requireEnough(topology: Topology, nodeId: string): void {
  const copies = Math.max(1, ...topology.groups.map(({ replicationFactor }) => replicationFactor))
  const takers = topology.ring.nodes.filter(({ weight }) => weight > 0)
  const left = takers.filter((node) => node.nodeId !== nodeId)
  if (left.length === takers.length || left.length >= copies) return
  throw new CacheError(
    'INVALID_ARGUMENT',
    `without ${nodeId} there are ${left.length} nodes for ${copies} copies of each partition: add a node first, or use --force to go on with fewer copies`,
  )
}

function paused(topology: Topology, isPaused: boolean): Transform | undefined {
  return topology.ring.paused === isPaused ? undefined : { kind: 'RingPaused', paused: isPaused }
}

function find(topology: Topology, nodeId: string): NodeRecord {
  const node = topology.nodes.find((one) => one.nodeId === nodeId && one.state !== 'gone')
  if (node !== undefined) return node
  const known = topology.nodes.filter(({ state }) => state !== 'gone').map((one) => one.nodeId)
  throw new CacheError('INVALID_ARGUMENT', `there is no node ${nodeId}; there are ${known.join(', ')}`)
}

function findRegion(topology: Topology, name: string): RegionRecord {
  const region = topology.regions.find((one) => one.name === name)
  if (region !== undefined) return region
  const known = topology.regions.map((one) => one.name).join(', ')
  throw new CacheError('UNKNOWN_REGION', `there is no region ${name}; there are ${known}`)
}

/** Partitions without a valid set, each with its heir. */
function lostPartitions(
  topology: Topology,
  heirOf: (partition: number, load: readonly number[]) => NodeIndex | undefined,
): NodeAt[] {
  const load = topology.nodes.map(() => 0)
  for (const { primary } of topology.partitions) load[primary] = (load[primary] ?? 0) + 1
  return topology.partitions.flatMap((record, partition) => {
    if (!isBlocked(topology, record) || !lacksValidSet(topology, record)) return []
    const heir = heirOf(partition, load)
    if (heir === undefined) return []
    load[heir] = (load[heir] ?? 0) + 1
    return [{ partition, partitionEpoch: record.partitionEpoch, node: heir }]
  })
}
