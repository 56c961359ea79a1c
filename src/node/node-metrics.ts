/** The figures of a node, looked up when somebody asks for them (src/observability/metrics.ts says what each means). */

import { MEMORY_PURPOSES, type MemoryAccount } from '../kernel/memory-account.ts'
import { type Counters, FamilyBuilder, type MetricFamily } from '../observability/metric-families.ts'
import type { CounterName } from '../observability/metrics.ts'
import type { RoleName } from '../replication/role.ts'
import type { DataPlane } from './data-plane.ts'
import type { SnapshotStatus } from './snapshot-keeper.ts'

const COUNTED: readonly CounterName[] = [
  'ringcache_snapshots_total',
  'ringcache_snapshots_unusable_total',
  'ringcache_snapshots_unfinished_total',
  'ringcache_snapshot_partitions_unusable_total',
  'ringcache_backup_runs_total',
  'ringcache_job_runs_total',
  'ringcache_job_runs_missed_total',
  'ringcache_events_total',
]

/** Of the node's status. */
interface StatusFigures {
  readonly state: string
  readonly epoch: number
  readonly entries: number
  readonly laggingReplicas: number
  readonly sessions: number
  readonly snapshots: SnapshotStatus | undefined
}

export interface MetricSources {
  readonly status: StatusFigures
  readonly memory: MemoryAccount
  readonly counters: Counters
  /** Undefined: no topology is known yet. */
  readonly plane: DataPlane | undefined
}

export function nodeMetrics({ status, memory, counters, plane }: MetricSources): readonly MetricFamily[] {
  const families = new FamilyBuilder()
  families.set('ringcache_node_serving', status.state === 'serving' ? 1 : 0)
  families.set('ringcache_topology_epoch', status.epoch)
  families.set('ringcache_entries', status.entries)
  families.set('ringcache_replicas_lagging', status.laggingReplicas)
  families.set('ringcache_client_streams', status.sessions)
  for (const purpose of MEMORY_PURPOSES)
    families.set('ringcache_memory_bytes', memory.held(purpose), { purpose })
  families.set('ringcache_memory_limit_bytes', memory.limitBytes)
  addPartitions(families, plane)
  addRegions(families, plane)
  if (status.snapshots !== undefined) addSnapshots(families, status.snapshots)
  families.addAll(counters, COUNTED)
  return families.families()
}

function addPartitions(families: FamilyBuilder, plane: DataPlane | undefined): void {
  const counts: Record<RoleName, number> = { primary: 0, 'taking-over': 0, backup: 0, learner: 0, kept: 0 }
  for (const { role } of plane?.replicator.replicas() ?? []) counts[role]++
  for (const [role, count] of Object.entries(counts)) families.set('ringcache_partitions', count, { role })
}

function addRegions(families: FamilyBuilder, plane: DataPlane | undefined): void {
  if (plane === undefined) return
  for (const { regionId, name: region } of plane.topology.regions) {
    const { entries, bytes } = plane.engine.regionStats(regionId)
    const { hits, misses, sets, deletes, evictions, expirations } = plane.counters.counts(regionId)
    families.set('ringcache_region_entries', entries, { region })
    families.set('ringcache_region_bytes', bytes, { region })
    families.set('ringcache_region_hits_total', hits, { region })
    families.set('ringcache_region_misses_total', misses, { region })
    families.set('ringcache_region_sets_total', sets, { region })
    families.set('ringcache_region_deletes_total', deletes, { region })
    families.set('ringcache_region_evictions_total', evictions, { region })
    families.set('ringcache_region_expirations_total', expirations, { region })
  }
}

function addSnapshots(families: FamilyBuilder, snapshots: SnapshotStatus): void {
  const { lastMs, durationMs, storedBytes, entries, isWriting, failure } = snapshots
  families.set('ringcache_snapshot_last_failed', failure === undefined ? 0 : 1)
  families.set('ringcache_snapshot_writing', isWriting ? 1 : 0)
  if (lastMs === undefined) return
  families.set('ringcache_snapshot_last_timestamp_seconds', lastMs / 1000)
  families.set('ringcache_snapshot_last_duration_seconds', durationMs / 1000)
  families.set('ringcache_snapshot_last_bytes', storedBytes)
  families.set('ringcache_snapshot_last_entries', entries)
}
