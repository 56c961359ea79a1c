/**
 * What cluster.yaml may hold. This is the one source: what is accepted, what is said about a mistake, the defaults and
 * docs/configuration.md all come from here.
 */

import { z } from 'zod'
import { PARTITIONS_MAX } from '../topology/codec.ts'
import type { Durability, EvictionPolicyName } from '../topology/topology.ts'
import {
  address,
  choice,
  cron,
  duration,
  flag,
  folder,
  type NamedAddress,
  name,
  names,
  objectPrefix,
  orNone,
  share,
  size,
  timeZone,
  url,
  wholeNumber,
} from './kinds.ts'
import { inherited, option, required, section } from './option.ts'

/** A valid file, before defaults that depend on other options. Durations are milliseconds, sizes bytes, 0 is `none`. */
export interface ClusterFile {
  name: string
  nodes: { id: string; address: NamedAddress; zone: string; weight: number; dataDir?: string | undefined }[]
  insecure: boolean
  replication: {
    factor?: number | undefined
    partitions: number
    durability: Durability
    read: Read
    minInSync: number
    replicaTimeout: number
    backlog: number
    onMajorityLoss: 'serve' | 'block'
  }
  memory: { limit: number; highWatermark: number }
  limits: {
    value: number
    key: number
    streams: number
    credit: number
    operations: number
    timeoutMax: number
  }
  regions: Record<string, RegionOptions>
  snapshots?: { interval: number; onStop: boolean; keep: number; bytesPerSecond: number } | undefined
  backup?: Backup | undefined
  maintenance?: Maintenance | undefined
  log: { level: LogLevel }
}

interface BackupStorage {
  type: 'directory' | 's3'
  path?: string | undefined
  bucket?: string | undefined
  prefix?: string | undefined
  region?: string | undefined
  endpoint?: string | undefined
}

interface Backup extends Timing {
  storage?: BackupStorage | undefined
  bytesPerSecond: number
  retention?: number | undefined
  keep?: number | undefined
}

interface Timing {
  schedule?: string | undefined
  timeZone: string
  timeLimit: number
  startWithin: number
}

interface Maintenance extends Timing {
  tasks: MaintenanceTask[]
}

export interface MaintenanceTask {
  type: 'cleanup' | 'compact' | 'rebalance'
  name?: string | undefined
  schedule?: string | undefined
  olderThan?: number | undefined
  regions?: readonly string[] | undefined
  threshold?: number | undefined
}

interface RegionOptions {
  size: number
  maxEntries?: number | undefined
  ttl: number
  policy: { type: EvictionPolicyName; maxItems?: number | undefined }
  durability?: Durability | undefined
  read?: Read | undefined
  minInSync?: number | undefined
}

type Read = 'primary' | 'replica' | 'nearest'
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

const NODES_MAX = 100
/** Regions in one file. */
export const REGIONS_MAX = 1000

const durability = choice('one', 'quorum', 'all')
const read = choice('primary', 'replica', 'nearest')
const replicas = wholeNumber(1, 7)

const node = section({
  id: required(name, 'Name of the node, unique in the cluster. It stays the same when the process restarts.'),
  address: required(
    address,
    'Where the node listens, and where clients and the other nodes reach it. Beyond the loopback interface only with `insecure: true`.',
  ),
  zone: option(name, {
    description:
      'Which nodes fail together (a machine, a rack, a data centre): copies go to distinct zones first.',
    default: 'default',
  }),
  weight: option(share(0.1, 100), {
    description:
      'How much of the data the node takes, relative to the others: 2 where it has twice their memory. It counts when the node joins; later, after `ringcache cluster rebalance`.',
    default: 1,
  }),
  dataDir: inherited(folder, {
    description:
      'Folder for what the node keeps on disk: what it must not forget of the agreements about who owns what. A relative path starts at the folder of this file. `none`: it keeps nothing, and comes back as a new node each time; of nodes that keep nothing, never let a majority stop at once while others run.',
    otherwise: 'data/<id>',
  }),
})

const replication = section({
  factor: inherited(replicas, {
    description: 'Copies of every entry, the primary included. Never more than there are nodes.',
    otherwise: '3, or the number of nodes when there are fewer',
  }),
  partitions: option(wholeNumber(1, PARTITIONS_MAX), {
    description:
      'Into how many partitions the keys are divided. A partition is the unit of ownership and of replication. It is fixed when the cluster is first started.',
    default: 1024,
  }),
  durability: option(durability, {
    description:
      'When a write is acknowledged: `one`, once the primary applied it (lost if that node dies at once); `quorum`, once a majority of the copies did; `all`, once every copy in sync did.',
    default: 'quorum',
  }),
  read: option(read, {
    description:
      'Who answers reads: `primary`, which knows every write; `replica`, any copy, which may be a moment behind; `nearest`, the copy that answers fastest.',
    default: 'primary',
  }),
  minInSync: option(replicas, {
    description: 'Quorum writes are refused while fewer copies than this are in sync. At most `factor`.',
    default: 1,
  }),
  replicaTimeout: option(duration('50ms', '60s'), {
    description: 'How long a copy may stay silent before it is no longer waited for.',
    default: '1s',
  }),
  backlog: option(size('1mb', '16gb'), {
    description:
      'How many bytes of recent writes a node keeps for copies that are behind. At least `limits.value`, at most half of `memory.limit`.',
    default: '64mb',
  }),
  onMajorityLoss: option(choice('serve', 'block'), {
    description:
      'What becomes of a partition when so many of its copies are lost at once that acknowledged writes may be among them: `serve`, it goes on with what is left, be it nothing; `block`, it waits until they return, or an operator decides.',
    default: 'serve',
  }),
})

const memory = section({
  limit: option(size('128mb', '1024gb'), {
    description:
      'What one node may hold as a process: entries and their bookkeeping, backlog, buffers, the JavaScript heap (40 to 80 MB). At the limit, writes are refused.',
    default: '1gb',
  }),
  highWatermark: option(share(0.5, 0.99), {
    description:
      'Share of `memory.limit` from which on entries are evicted, whatever the budget of their region says.',
    default: 0.85,
  }),
})

const limits = section({
  value: option(size('1kb', '64mb'), { description: 'Largest value, encoded.', default: '16mb' }),
  key: option(size('16b', '1kb'), { description: 'Longest key, in bytes of UTF-8.', default: '1kb' }),
  streams: option(wholeNumber(1, 100_000), {
    description: 'Client streams that a node accepts at one time.',
    default: 1000,
  }),
  credit: option(size('128kb', '1gb'), {
    description: 'Bytes of requests that may be unanswered at one time on one stream.',
    default: '4mb',
  }),
  operations: option(wholeNumber(16, 1_048_576), {
    description: 'Operations that may be unanswered at one time on one stream.',
    default: 16_384,
  }),
  timeoutMax: option(duration('1s', '10m'), {
    description:
      'Longest time a client may give an operation. Outcomes of writes are remembered for twice as long.',
    default: '30s',
  }),
})

const maxEntries = orNone(wholeNumber(1, 1_000_000_000_000))

const region = section({
  size: option(orNone(size('64kb', '1048576gb')), {
    description:
      'Bytes (keys, values and their bookkeeping) that the region holds in the whole cluster, each entry counted once. Beyond it entries are evicted.',
    default: 'none',
  }),
  maxEntries: inherited(maxEntries, {
    description:
      'Entries that the region holds in the whole cluster, each counted once. Beyond it entries are evicted.',
    otherwise: 'none',
  }),
  ttl: option(orNone(duration('1ms', '36525d')), {
    description: 'Time to live of entries that are written without one.',
    default: 'none',
  }),
  policy: z
    .preprocess(
      (value) => (value === null || typeof value === 'object' ? value : { type: value }),
      section({
        type: option(choice('lru', 'fifo'), {
          description:
            'Which entry is evicted first: `lru`, the one unused for longest; `fifo`, the one written first. `policy: lru` is short for `policy: { type: lru }`.',
          default: 'lru',
        }),
        maxItems: inherited(maxEntries, {
          description: 'Another way to write `maxEntries`; give one of the two.',
          otherwise: 'none',
        }),
      }),
    )
    .prefault({}),
  durability: inherited(durability, {
    description: 'As `replication.durability`, for this region.',
    otherwise: 'replication.durability',
  }),
  read: inherited(read, {
    description: 'As `replication.read`, for this region.',
    otherwise: 'replication.read',
  }),
  minInSync: inherited(replicas, {
    description: 'As `replication.minInSync`, for this region.',
    otherwise: 'replication.minInSync',
  }),
})

const snapshots = section({
  interval: option(duration('1s', '7d'), {
    description:
      'How often a node writes down what changed since it did so last; the nodes take turns. Of a cluster that ends as a whole and at once, what was written within the last interval is lost.',
    default: '5m',
  }),
  onStop: option(flag, {
    description: 'Whether an orderly stop ends with one, if 3 s are enough for it.',
    default: true,
  }),
  keep: option(wholeNumber(1, 100), {
    description: 'Full snapshots that are kept, each with those that build on it (7 at most).',
    default: 2,
  }),
  bytesPerSecond: option(orNone(size('1mb', '64gb')), {
    description:
      'How many bytes of entries a node writes in a second, but for the last snapshot before a stop.',
    default: '50mb',
  }),
})

/** When jobs of a section are run. */
const timing = {
  schedule: inherited(cron, {
    description:
      'When it is run: a cron expression of five fields (minute, hour, day of month, month, day of week), or six with seconds in front. One node of the cluster does each run.',
    otherwise: 'only when somebody asks for it',
  }),
  timeZone: option(timeZone, {
    description: 'Where the hours of the schedule are those of the clock on the wall.',
    default: 'UTC',
  }),
  timeLimit: option(duration('1s', '7d'), {
    description: 'A run that takes longer is ended, and has failed.',
    default: '6h',
  }),
  startWithin: option(duration('1s', '7d'), {
    description:
      'A run that could not begin at its time, since no node was there to do it, still begins so much later; after that it is missed.',
    default: '10m',
  }),
}

const storage = section({
  type: required(
    choice('directory', 's3'),
    'What it is: a folder that all nodes reach at the same path, or a bucket of S3 or of a server that speaks its protocol.',
  ),
  path: inherited(folder, {
    description: 'With `directory`: the folder. A relative path starts at the folder of this file.',
    otherwise: 'required with `directory`',
  }),
  bucket: inherited(name, {
    description:
      'With `s3`: the bucket. Credentials come from where the AWS tools look for them, never from this file.',
    otherwise: 'required with `s3`',
  }),
  prefix: inherited(objectPrefix, {
    description: 'With `s3`: what stands before the names of all objects, such as `daily/`.',
    otherwise: 'none',
  }),
  region: inherited(name, {
    description: 'With `s3`: the region of the bucket.',
    otherwise: 'AWS_REGION of the environment, or us-east-1',
  }),
  endpoint: inherited(url, {
    description: "With `s3`: another server than Amazon's.",
    otherwise: "Amazon's",
  }),
})

const backup = section({
  ...timing,
  retention: inherited(duration('1m', '3650d'), {
    description:
      'Backups made by the schedule that are older are removed after each new one; the newest always stays.',
    otherwise: 'they stay, unless `keep` says otherwise',
  }),
  keep: inherited(wholeNumber(1, 1000), {
    description:
      'So many of the newest backups made by the schedule are kept, whatever their age. With `retention`, too: what either of the two keeps stays.',
    otherwise: 'those that `retention` keeps',
  }),
  storage: storage.optional(),
  bytesPerSecond: option(orNone(size('64kb', '64gb')), {
    description:
      'How many bytes of entries all nodes together write in a second, unless a command says otherwise.',
    default: 'none',
  }),
})
const task = section({
  type: required(
    choice('cleanup', 'compact', 'rebalance'),
    '`cleanup` removes entries that were not written for long; `compact` gives back memory of what was removed; `rebalance` moves data off nodes that hold more than their share.',
  ),
  name: inherited(name, {
    description: 'How it is called by `ringcache jobs`. Needed where there are two of a type.',
    otherwise: 'its type',
  }),
  schedule: inherited(cron, {
    description: 'As `maintenance.schedule`, for this task.',
    otherwise: 'maintenance.schedule',
  }),
  olderThan: inherited(duration('1s', '3650d'), {
    description: 'With `cleanup`: entries that were not written for so long are removed.',
    otherwise: 'required with `cleanup`',
  }),
  regions: inherited(names, {
    description: 'With `cleanup`: in which regions.',
    otherwise: 'all',
  }),
  threshold: inherited(share(0.01, 10), {
    description:
      'With `compact`: the share of dead bytes in the memory of a node above which it compacts. With `rebalance`: how much more than its share the fullest node holds before anything is moved, where 0.2 is a fifth.',
    otherwise: '0.3 with `compact`, 0.2 with `rebalance`',
  }),
})

const maintenance = section({ ...timing, tasks: z.array(task).min(1) })

const log = section({
  level: option(choice('debug', 'info', 'warn', 'error', 'silent'), {
    description: 'The least important lines that are still written.',
    default: 'info',
  }),
})

export const clusterSchema: z.ZodType<ClusterFile> = section({
  name: option(name, { description: 'Name of the cluster, shown to operators.', default: 'ringcache' }),
  nodes: z.array(node).min(1).max(NODES_MAX),
  insecure: option(flag, {
    description:
      'Lets nodes listen beyond the loopback interface although traffic is neither encrypted nor authenticated. Only for networks in which everybody may read and change everything.',
    default: false,
  }),
  replication: replication.prefault({}),
  memory: memory.prefault({}),
  limits: limits.prefault({}),
  regions: z.preprocess((value) => value ?? {}, z.record(z.string(), region)).prefault({}),
  snapshots: snapshots.optional(),
  backup: backup.optional(),
  maintenance: maintenance.optional(),
  log: log.prefault({}),
})
