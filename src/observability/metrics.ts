/**
 * Every metric there is. docs/observability.md has this table; one that is added here appears there with `npm run docs`. Names follow
 * Prometheus (https://prometheus.io/docs/practices/naming/): a counter ends with `_total`, a unit is a base unit and comes last.
 */

export interface MetricFacts {
  readonly type: 'counter' | 'gauge'
  /** Of the values: `seconds`, `bytes`, or what is counted. */
  readonly unit: string
  readonly help: string
  /** With the values that there are where these are few: a counter begins at 0 for each. */
  readonly labels: Readonly<Record<string, readonly string[]>>
}

const catalogue = {
  ringcache_node_serving: {
    type: 'gauge',
    unit: '0 or 1',
    help: 'Whether the node has a role in its cluster.',
    labels: {},
  },
  ringcache_topology_epoch: {
    type: 'gauge',
    unit: 'epochs',
    help: 'The newest record of the cluster that the node has taken up.',
    labels: {},
  },
  ringcache_entries: {
    type: 'gauge',
    unit: 'entries',
    help: 'Entries that the node holds, in copies of all roles.',
    labels: {},
  },
  ringcache_partitions: {
    type: 'gauge',
    unit: 'partitions',
    help: 'Partitions of which the node holds a copy.',
    labels: { role: ['primary', 'taking-over', 'backup', 'learner', 'kept'] },
  },
  ringcache_replicas_lagging: {
    type: 'gauge',
    unit: 'replicas',
    help: 'Copies on other nodes that are left out of partitions which this node leads.',
    labels: {},
  },
  ringcache_client_streams: {
    type: 'gauge',
    unit: 'streams',
    help: 'Open streams of clients.',
    labels: {},
  },
  ringcache_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory in use; the sum is held against the limit.',
    labels: { purpose: ['engine', 'backlog', 'rest'] },
  },
  ringcache_memory_limit_bytes: { type: 'gauge', unit: 'bytes', help: 'memory.limit.', labels: {} },
  ringcache_region_entries: {
    type: 'gauge',
    unit: 'entries',
    help: 'Entries of a region that the node is primary of: the sum over nodes counts each once.',
    labels: { region: [] },
  },
  ringcache_region_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'The same with bookkeeping, as budgets count it.',
    labels: { region: [] },
  },
  ringcache_region_hits_total: {
    type: 'counter',
    unit: 'reads',
    help: 'Reads that found an entry.',
    labels: { region: [] },
  },
  ringcache_region_misses_total: {
    type: 'counter',
    unit: 'reads',
    help: 'Reads that found none.',
    labels: { region: [] },
  },
  ringcache_region_sets_total: {
    type: 'counter',
    unit: 'writes',
    help: 'Writes that were asked for, but deletes and clears.',
    labels: { region: [] },
  },
  ringcache_region_deletes_total: {
    type: 'counter',
    unit: 'writes',
    help: 'Deletes that were asked for.',
    labels: { region: [] },
  },
  ringcache_region_evictions_total: {
    type: 'counter',
    unit: 'entries',
    help: 'Entries removed over budget or for memory, by their primary.',
    labels: { region: [] },
  },
  ringcache_region_expirations_total: {
    type: 'counter',
    unit: 'entries',
    help: 'Entries removed past their time, by their primary.',
    labels: { region: [] },
  },
  ringcache_snapshots_total: {
    type: 'counter',
    unit: 'attempts',
    help: 'Snapshots by result. An attempt in which nothing had changed is none; one that could not open the folder has failed.',
    labels: { result: ['done', 'failed'] },
  },
  ringcache_snapshots_unusable_total: {
    type: 'counter',
    unit: 'snapshots',
    help: 'Damaged or unreadable snapshots that were found on the disk.',
    labels: {},
  },
  ringcache_snapshots_unfinished_total: {
    type: 'counter',
    unit: 'snapshots',
    help: 'Snapshots without an end that were found on the disk as the node started, and removed.',
    labels: {},
  },
  ringcache_snapshot_partitions_unusable_total: {
    type: 'counter',
    unit: 'partitions',
    help: 'Partitions that could not be read from a snapshot as the node started; one that an older snapshot gave counts, too.',
    labels: {},
  },
  ringcache_snapshot_last_failed: {
    type: 'gauge',
    unit: '0 or 1',
    help: 'Whether the last attempt failed. Absent, as the next five, where a node keeps no snapshots.',
    labels: {},
  },
  ringcache_snapshot_writing: {
    type: 'gauge',
    unit: '0 or 1',
    help: 'Whether one is being written.',
    labels: {},
  },
  ringcache_snapshot_last_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds since 1970',
    help: 'When the newest snapshot was finished, be it by an earlier process. Absent, as the next three, while there is none.',
    labels: {},
  },
  ringcache_snapshot_last_duration_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'How long it took.',
    labels: {},
  },
  ringcache_snapshot_last_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'What was written for it, packed.',
    labels: {},
  },
  ringcache_snapshot_last_entries: {
    type: 'gauge',
    unit: 'entries',
    help: 'Entries in it, those in the snapshots it builds on included.',
    labels: {},
  },
  ringcache_backup_runs_total: {
    type: 'counter',
    unit: 'runs',
    help: 'Work on backups that this node saw to: create, verify, restore and delete.',
    labels: { action: ['create', 'verify', 'restore', 'delete'], result: ['done', 'failed'] },
  },
  ringcache_job_runs_total: {
    type: 'counter',
    unit: 'runs',
    help: 'Runs of jobs that ended on this node. Those of a node that is gone are counted by the one that drives.',
    labels: { kind: [], result: ['done', 'failed', 'cancelled'] },
  },
  ringcache_job_runs_missed_total: {
    type: 'counter',
    unit: 'times',
    help: 'Scheduled times that passed without a run; counted by the node that drives.',
    labels: { kind: [] },
  },
  ringcache_events_total: {
    type: 'counter',
    unit: 'events',
    help: 'Events, repeated ones included.',
    labels: { severity: ['info', 'warning', 'error'] },
  },
} as const

export type MetricName = keyof typeof catalogue
type NamesOf<Type> = {
  [Name in MetricName]: (typeof catalogue)[Name]['type'] extends Type ? Name : never
}[MetricName]
export type CounterName = NamesOf<'counter'>

/** In the order in which they are shown. */
export const METRICS: Readonly<Record<MetricName, MetricFacts>> = catalogue
