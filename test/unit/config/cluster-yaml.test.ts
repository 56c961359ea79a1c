/** What cluster.yaml may hold, and what is said about each kind of mistake. */

import { readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ClusterConfig } from '../../../src/config/cluster-config.ts'
import { loadClusterConfig, parseClusterConfig, resolveClusterConfig } from '../../../src/config/load.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { TTL_MS_MAX } from '../../../src/wire/operations.ts'

const NODES = `nodes:
  - { id: a, address: '127.0.0.1:7401' }
  - { id: b, address: '127.0.0.1:7402' }
  - { id: c, address: '127.0.0.1:7403' }
`

/** The lines of the error that `text` is refused with. */
function mistakes(text: string): string[] {
  try {
    parseClusterConfig(text, 'c.yaml')
  } catch (error) {
    expect(error).toBeInstanceOf(CacheError)
    expect((error as CacheError).code).toBe('CONFIGURATION')
    return (error as CacheError).message.split('\n')
  }
  throw new Error(`accepted: ${text}`)
}

function accepted(text: string): ClusterConfig {
  return parseClusterConfig(NODES + text, 'c.yaml')
}

describe('a valid file', () => {
  it('needs nothing but nodes; everything else has a default', () => {
    expect(accepted('')).toEqual({
      name: 'ringcache',
      nodes: ['a', 'b', 'c'].map((id, i) => ({
        id,
        address: `127.0.0.1:740${i + 1}`,
        host: '127.0.0.1',
        port: 7401 + i,
        zone: 'default',
        weight: 1,
        dataDir: `data/${id}`,
      })),
      insecure: false,
      replication: {
        factor: 3,
        partitions: 1024,
        durability: 'quorum',
        read: 'primary',
        minInSync: 1,
        replicaTimeoutMs: 1000,
        backlogBytes: 64 * 1024 ** 2,
        onMajorityLoss: 'serve',
      },
      memory: { limitBytes: 1024 ** 3, highWatermark: 0.85 },
      limits: {
        valueBytesMax: 16 * 1024 ** 2,
        keyBytesMax: 1024,
        streamsMax: 1000,
        creditBytes: 4 * 1024 ** 2,
        operationsMax: 16_384,
        timeoutMaxMs: 30_000,
      },
      regions: [
        {
          name: 'default',
          sizeBytes: 0,
          maxEntries: 0,
          ttlMs: 0,
          policy: 'lru',
          durability: 'quorum',
          read: 'primary',
          minInSync: 1,
        },
      ],
      jobs: [],
      log: { level: 'info' },
    })
  })

  it('gives the cluster the jobs of its maintenance', () => {
    const { jobs } = accepted(`
regions: { sessions: {} }
maintenance:
  schedule: '0 * * * *'
  timeZone: Europe/Berlin
  tasks:
    - { type: cleanup, olderThan: 7d, regions: [sessions] }
    - { type: compact, schedule: '@daily' }
    - { type: rebalance, name: level, threshold: 0.5 }
`)
    const timing = { timeZone: 'Europe/Berlin', timeLimitMs: 6 * 3_600_000, startWithinMs: 600_000 }
    expect(jobs).toEqual([
      {
        ...timing,
        name: 'cleanup',
        kind: 'cleanup',
        schedule: '0 * * * *',
        spec: '{"olderThanMs":604800000,"regions":["sessions"]}',
      },
      { ...timing, name: 'compact', kind: 'compact', schedule: '@daily', spec: '{"threshold":0.3}' },
      { ...timing, name: 'level', kind: 'rebalance', schedule: '0 * * * *', spec: '{"threshold":0.5}' },
    ])
  })

  it('is the cluster.yaml of the project', () => {
    const root = resolve(import.meta.dirname, '../../..')
    const config = parseClusterConfig(readFileSync(join(root, 'cluster.yaml'), 'utf8'), 'cluster.yaml')
    expect(config.nodes.map(({ address }) => address)).toEqual([
      '127.0.0.1:7401',
      '127.0.0.1:7402',
      '127.0.0.1:7403',
    ])
    expect(config.regions.map(({ name }) => name)).toEqual(['default', 'sessions', 'products'])
  })

  it('reads durations and sizes with their units', () => {
    const config = accepted(`
replication: { replicaTimeout: 250ms, backlog: 16777216 }
limits: { timeoutMax: 1500 }
regions:
  sessions: { size: 64MB, ttl: 1.5h, maxEntries: none }
`)
    expect(config.replication.replicaTimeoutMs).toBe(250)
    expect(config.replication.backlogBytes).toBe(16 * 1024 ** 2)
    expect(config.limits.timeoutMaxMs).toBe(1500)
    expect(config.regions[1]).toMatchObject({ sizeBytes: 64 * 1024 ** 2, ttlMs: 5_400_000, maxEntries: 0 })
  })

  it('lets a region inherit what it does not say from replication', () => {
    const config = accepted(`
replication: { durability: all, read: nearest, minInSync: 2 }
regions:
  own: { durability: one, read: replica, minInSync: 3 }
  inherits:
`)
    expect(config.regions[1]).toMatchObject({ durability: 'one', read: 'replica', minInSync: 3 })
    expect(config.regions[2]).toMatchObject({ durability: 'all', read: 'nearest', minInSync: 2 })
    expect(config.regions[0]).toMatchObject({ durability: 'all', read: 'nearest', minInSync: 2 })
  })

  it('takes a policy as a word or as a map with maxItems', () => {
    const config = accepted(`
regions:
  word: { policy: fifo, maxEntries: 7 }
  map: { policy: { type: fifo, maxItems: 10000 } }
  items: { policy: { maxItems: 5 } }
`)
    expect(config.regions.slice(1).map(({ policy, maxEntries }) => [policy, maxEntries])).toEqual([
      ['fifo', 7],
      ['fifo', 10_000],
      ['lru', 5],
    ])
  })

  it('puts the default region first, wherever it stands', () => {
    const config = accepted('regions: { z: {}, default: { ttl: 1m }, a: {} }')
    expect(config.regions.map(({ name, ttlMs }) => [name, ttlMs])).toEqual([
      ['default', 60_000],
      ['z', 0],
      ['a', 0],
    ])
  })

  it('treats a map whose lines are all commented out as empty', () => {
    expect(accepted('memory:\n  # limit: 2gb\nregions:\nlog:\n').memory.limitBytes).toBe(1024 ** 3)
  })

  it('keeps as many copies as there are nodes, up to three, when no factor is given', () => {
    const factor = (count: number): number => {
      const nodes = Array.from({ length: count }, (_, i) => ({
        id: `n${i}`,
        address: `127.0.0.1:${7401 + i}`,
      }))
      return resolveClusterConfig({ nodes }).replication.factor
    }
    expect([1, 2, 3, 5].map(factor)).toEqual([1, 2, 3, 3])
  })

  it('lets nodes listen beyond loopback only when told that this is insecure', () => {
    const nodes = 'nodes: [{ id: a, address: "10.0.0.1:7401" }]\n'
    expect(parseClusterConfig(`${nodes}insecure: true`, 'c.yaml').nodes[0]?.host).toBe('10.0.0.1')
    expect(mistakes(nodes)).toEqual([
      expect.stringMatching(/^c\.yaml:1:27: nodes\[0\]\.address is "10\.0\.0\.1:7401", but .*insecure: true/),
    ])
  })

  it('lets entries live as long as the protocol can say, and no longer', () => {
    const ttlMs = accepted('regions: { default: { ttl: 36525d } }').regions[0]?.ttlMs
    expect(ttlMs).toBe(TTL_MS_MAX)
    expect(mistakes(`${NODES}regions: { default: { ttl: 36526d } }`)).toHaveLength(1)
  })

  it('may be JSON', () => {
    expect(
      parseClusterConfig('{"nodes":[{"id":"a","address":"[::1]:7401"}]}', 'c.json').nodes[0],
    ).toMatchObject({
      host: '::1',
      port: 7401,
    })
  })
})

describe('a mistake', () => {
  // [what, text below the nodes, where, what is said]
  const cases: readonly (readonly [string, string, string, string])[] = [
    [
      'a number out of range',
      'replication:\n  factor: 9',
      '6:11',
      'replication.factor is 9; allowed: a whole number from 1 to 7',
    ],
    [
      'a fraction',
      'replication: { partitions: 1.5 }',
      '5:28',
      'replication.partitions is 1.5; allowed: a whole number from 1 to 65536',
    ],
    [
      'a text for a number',
      'replication: { partitions: many }',
      '5:28',
      'replication.partitions is "many"; allowed: a whole number from 1 to 65536',
    ],
    [
      'an unknown word',
      'replication: { durability: majority }',
      '5:28',
      'replication.durability is "majority"; allowed: one, quorum, all',
    ],
    [
      'a duration without a unit that exists',
      'replication: { replicaTimeout: 1sec }',
      '5:32',
      'replication.replicaTimeout is "1sec"; allowed: a duration from 50ms to 60s, such as 250ms, 30s, 5m, 1h, 7d (a bare number is milliseconds)',
    ],
    [
      'a negative duration',
      'limits:\n  timeoutMax: -1',
      '6:15',
      'limits.timeoutMax is -1; allowed: a duration from 1s to 10m, such as 250ms, 30s, 5m, 1h, 7d (a bare number is milliseconds)',
    ],
    [
      'a size above the largest',
      'limits: { value: 65mb }',
      '5:18',
      'limits.value is "65mb"; allowed: a size from 1kb to 64mb, such as 512kb, 64mb, 2gb (a bare number is bytes)',
    ],
    [
      'not a number',
      'memory: { highWatermark: .nan }',
      '5:26',
      'memory.highWatermark is NaN; allowed: a number from 0.5 to 0.99',
    ],
    ['no truth value', 'insecure: yes', '5:11', 'insecure is "yes"; allowed: true or false'],
    ['nothing where a value belongs', 'name:', '5:1', 'name is empty; allowed: 1 to 64 letters'],
    ['a number where a text belongs', 'name: 12', '5:7', "Put it in quotes: '12'"],
    [
      'a misspelt option',
      'replication:\n  durabilty: one',
      '6:3',
      'replication.durabilty is not an option. Did you mean durability? Allowed here: factor, partitions, durability, read, minInSync, replicaTimeout, backlog',
    ],
    ['another case', 'Memory: {}', '5:1', 'Memory is not an option. Did you mean memory?'],
    [
      'an unknown option that resembles none',
      'cluster: {}',
      '5:1',
      'cluster is not an option. Allowed here: name, nodes, insecure, replication, memory, limits, regions, snapshots, backup, maintenance, log',
    ],
    [
      'an unknown option of a region',
      'regions:\n  sessions:\n    tll: 1m',
      '7:5',
      'regions.sessions.tll is not an option. Did you mean ttl?',
    ],
    ['a list for a map', 'memory: [1]', '5:9', 'memory is a list; allowed: a map with limit, highWatermark'],
    ['a scalar for a map', 'regions: all', '5:10', 'regions is "all"; allowed: a map of names to options'],
    ['an unknown policy', 'regions: { r: { policy: lfu } }', '5:25', 'regions.r.policy'],
    [
      'a folder for backups without its path',
      'backup: { storage: { type: directory } }',
      '5:20',
      'backup.storage has the type directory, which needs a path',
    ],
    [
      'a bucket for backups with a path',
      'backup: { storage: { type: s3, bucket: b, path: /x } }',
      '5:49',
      'backup.storage.path is "/x", but the type is s3; leave it out',
    ],
    [
      'a secret in the address of a server',
      "backup: { storage: { type: s3, bucket: b, endpoint: 'http://me:secret@host' } }",
      '5:53',
      'allowed: http:// or https:// and host:port',
    ],
    [
      'an unknown policy in a map',
      'regions: { r: { policy: { type: lfu } } }',
      '5:33',
      'regions.r.policy.type is "lfu"; allowed: lru, fifo',
    ],
    [
      'two ways to say the same',
      'regions: { r: { maxEntries: 5, policy: { maxItems: 6 } } }',
      '5:52',
      'regions.r.policy.maxItems is 6, but maxEntries says the same',
    ],
    [
      'a bad name of a region',
      'regions: { "a b": {} }',
      '5:12',
      'regions.a b is no name for a region; allowed: 1 to 64',
    ],
    [
      'a region named after the root of objects',
      'regions: { __proto__: {} }',
      '5:12',
      '__proto__ is no name',
    ],
    ['a factor above the nodes', 'replication: { factor: 4 }', '5:24', 'is 4, but there are 3 nodes'],
    [
      'minInSync above the factor',
      'replication: { factor: 2, minInSync: 3 }',
      '5:38',
      'is 3, but there are 2 copies',
    ],
    [
      'minInSync of a region',
      'regions: { r: { minInSync: 4 } }',
      '5:28',
      'regions.r.minInSync is 4, but there are 3',
    ],
    ['a backlog below a value', 'replication: { backlog: 8mb }', '5:25', 'limits.value'],
    [
      'a backlog that fills memory',
      'memory: { limit: 128mb }\nreplication: { backlog: 65mb }',
      '6:25',
      'replication.backlog is 68157440, but that is over half',
    ],
    [
      'a schedule that is none',
      "maintenance:\n  schedule: '61 * * * *'\n  tasks: [{ type: compact }]",
      '6:13',
      'maintenance.schedule: "61 * * * *" is no schedule (CronPattern: Invalid value for minute: 61); use a cron expression of five fields',
    ],
    [
      'a schedule of a task with too few fields',
      "maintenance: { tasks: [{ type: compact, schedule: '* * *' }] }",
      '5:51',
      'maintenance.tasks[0].schedule: "* * *" is no schedule (it has not five or six fields)',
    ],
    [
      'a time zone that there is not',
      'maintenance: { timeZone: Mars, tasks: [{ type: compact }] }',
      '5:26',
      'maintenance.timeZone is "Mars"; allowed: UTC, or a name of the IANA database such as Europe/Berlin',
    ],
    [
      'a cleanup that does not say of what',
      'maintenance: { tasks: [{ type: cleanup }] }',
      '5:24',
      'maintenance.tasks[0] is a cleanup, which needs olderThan, such as 7d',
    ],
    [
      'an option of another task',
      'maintenance: { tasks: [{ type: compact, olderThan: 7d }] }',
      '5:52',
      'a compact has no such option',
    ],
    [
      'two tasks of one name',
      'maintenance: { tasks: [{ type: compact }, { type: compact }] }',
      '5:51',
      'maintenance.tasks[1].name is "compact", but another job has this name already',
    ],
    [
      'a cleanup of a region that is not there',
      'maintenance: { tasks: [{ type: cleanup, olderThan: 7d, regions: [a] }] }',
      '5:65',
      'is "a", but there is no such region in this file',
    ],
    [
      'a level that is none',
      'log: { level: trace }',
      '5:15',
      'log.level is "trace"; allowed: debug, info, warn',
    ],
  ]

  it.each(cases)('%s', (_, text, where, said) => {
    const lines = mistakes(NODES + text)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(said)
    expect(lines[0]).toMatch(new RegExp(`^c\\.yaml:${where}: `))
  })

  it('in the list of nodes is named by its position', () => {
    expect(
      mistakes('nodes:\n  - id: a\n    address: 127.0.0.1\n  - id: a b\n    address: 127.0.0.1:0'),
    ).toEqual([
      expect.stringMatching(/^c\.yaml:3:14: nodes\[0\]\.address is "127\.0\.0\.1"; allowed: host:port/),
      expect.stringMatching(/^c\.yaml:4:9: nodes\[1\]\.id is "a b"; allowed/),
      expect.stringMatching(/^c\.yaml:5:14: nodes\[1\]\.address is "127\.0\.0\.1:0"; allowed: host:port/),
    ])
  })

  it('that is a missing option stands where its map stands', () => {
    expect(mistakes('nodes:\n  - id: a')).toEqual([
      expect.stringMatching(/^c\.yaml:2:5: nodes\[0\]\.address is missing; allowed: host:port/),
    ])
    expect(mistakes('name: x')).toEqual([
      expect.stringMatching(/^c\.yaml:1:1: nodes is missing; allowed: a list/),
    ])
  })

  it('such as a repeated id or address names the other node', () => {
    const text = NODES.replace('id: c', 'id: a').replace(':7403', ':7402')
    expect(mistakes(text)).toEqual([
      expect.stringMatching(/^c\.yaml:4:11: nodes\[2\]\.id is "a", but nodes\[0\] has this id already/),
      expect.stringMatching(/^c\.yaml:4:23: nodes\[2\]\.address is "127\.0\.0\.1:7402", but nodes\[1\] has/),
    ])
  })

  it.each([
    ['an empty file', '', 'c.yaml:1:1: nodes is missing'],
    ['only a comment', '# nothing\n', 'nodes is missing'],
    ['a list', '- a', 'c.yaml:1:1: the configuration is a list; allowed: a map with name, nodes'],
    [
      'no nodes',
      'nodes: []',
      'c.yaml:1:8: nodes is a list; allowed: a list with one entry (- …) or more, at most 100',
    ],
    ['a key twice', 'name: a\nname: b\n', 'c.yaml:2:1: Map keys must be unique'],
    ['broken indentation', 'name: a\n  nodes: b\n', 'c.yaml:1:7: '],
    ['an open quote', 'name: "a\n', 'c.yaml:'],
    ['two documents', 'name: a\n---\nname: b\n', 'c.yaml:2:'],
    ['an unknown tag', 'name: !!js/function a\n', 'c.yaml:1:7: Unresolved tag'],
    ['an unknown anchor', 'name: *nothing\n', 'c.yaml:1:7: '],
  ])('of YAML itself: %s', (_, text, said) => {
    expect(mistakes(text).join('\n')).toContain(said)
  })

  it('cannot hide behind aliases that grow without bound', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    for (const [previous, next] of ['ab', 'bc', 'cd', 'de', 'ef'].map((pair) => [pair[0], pair[1]])) {
      bomb.push(`${next}: &${next} [${Array(10).fill(`*${previous}`).join(', ')}]`)
    }
    expect(mistakes(bomb.join('\n'))[0]).toMatch(/alias/i)
  })

  it('does not hide the others: all are reported at once, up to a bound', () => {
    expect(mistakes(`${NODES}name: 1\nlog: { level: x }\nlimits: { key: 2kb }`)).toHaveLength(3)
    const many = Array.from({ length: 30 }, (_, i) => `  r${i}: { size: x }`).join('\n')
    const lines = mistakes(`${NODES}regions:\n${many}`)
    expect(lines).toHaveLength(21)
    expect(lines[20]).toBe('… and 10 more')
  })

  it('of a value made by a program is named without a line', () => {
    expect(() => resolveClusterConfig({ nodes: [] }, 'options')).toThrow(/^options: nodes is a list; allowed/)
  })
})

describe('a file on disk', () => {
  it('starts relative data folders at its own folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ringcache-config-'))
    const file = join(folder, 'my.yaml')
    await writeFile(
      file,
      'nodes: [{ id: a, address: "127.0.0.1:1" }, { id: b, address: "127.0.0.1:2", dataDir: /var/b }]',
    )
    const config = await loadClusterConfig(file)
    expect(config.nodes.map(({ dataDir }) => dataDir)).toEqual([join(folder, 'data/a'), '/var/b'])
  })

  it('is named in full when it can not be read', async () => {
    await expect(loadClusterConfig('no-such-folder/c.yaml')).rejects.toThrow(
      new RegExp(`^the configuration ${resolve('no-such-folder/c.yaml')} can't be read`),
    )
  })
})
