/** Exports and imports against whole clusters on virtual time. */

import { deepStrictEqual } from 'node:assert/strict'
import { afterEach, describe, expect, it } from 'vitest'
import { Exporter, type ExportOptions } from '../../../../src/admin/export/exporter.ts'
import { Importer, type ImportOptions, type RequireRegion } from '../../../../src/admin/export/importer.ts'
import type { Cache } from '../../../../src/client/cache.ts'
import type { RawValue } from '../../../../src/client/codecs/raw-value.ts'
import { resolveSettings } from '../../../../src/client/options.ts'
import { openRawClient } from '../../../../src/client/raw-client.ts'
import { CacheError } from '../../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../../src/kernel/random.ts'
import { createTestCluster, type TestCluster } from '../../../../src/testing/test-cluster.ts'
import type { RegionMessage } from '../../../../src/wire/admin.ts'

let cluster: TestCluster
afterEach(() => cluster.close())

const regionNamed = (name: string): RegionMessage => ({ name, group: 'default' }) as RegionMessage

async function rawClient(): Promise<Cache<RawValue>> {
  const host = cluster.clientHost('tool')
  const ports = {
    clock: host,
    scheduler: host,
    random: new SeededRandom(cluster.random.uint32()),
    dialer: cluster.network.dialer(host),
  }
  const nodes = cluster.nodes.map((node) => node.address)
  return cluster.run(openRawClient(ports, resolveSettings({ nodes, read: 'primary', timeout: '30s' })))
}

function exporterOf(client: Cache<RawValue>, pieces: string[], more: Partial<ExportOptions> = {}): Exporter {
  const options = {
    cluster: 'test',
    regions: [regionNamed('default')],
    prefix: '',
    perSecond: undefined,
    withMeta: false,
    signal: new AbortController().signal,
    ...more,
  }
  const host = cluster.clientHost('tool')
  return new Exporter(client, { clock: host, scheduler: host }, options, async (text) => {
    pieces.push(text)
  })
}

function importerOf(
  client: Cache<RawValue>,
  more: Partial<ImportOptions> = {},
  require: RequireRegion = async () => true,
): Importer {
  const options = {
    source: 'dump.jsonl',
    overwrite: false,
    dryRun: false,
    skipBadLines: false,
    region: undefined,
    prefix: '',
    into: undefined,
    perSecond: undefined,
    signal: new AbortController().signal,
    ...more,
  }
  const host = cluster.clientHost('tool')
  return new Importer(client, { clock: host, scheduler: host }, options, require)
}

async function* bytesOf(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

async function imported(importer: Importer, ...texts: string[]): Promise<Importer['counts']> {
  await cluster.run(importer.run(bytesOf(...texts)))
  return importer.counts
}

async function failure(promise: Promise<unknown>): Promise<CacheError> {
  const error = await cluster.run(
    promise.then(
      () => undefined,
      (reason: unknown) => reason,
    ),
  )
  if (error instanceof CacheError) return error
  throw new Error(`expected a CacheError, not ${String(error)}`)
}

describe('an export', () => {
  it('brings everything to another cluster: value, expiry, tags, region, counters', async () => {
    cluster = await createTestCluster({ nodes: 3, regions: [{ name: 'default' }, { name: 'sessions' }] })
    const cache = await cluster.connect()
    const values = new Map<string, unknown>([
      ['map', new Map([[{ at: new Date(7) }, new Set([1n])]])],
      ['odd', [undefined, Number.NaN, -0]],
      ['bytes', new Float64Array([1, 2])],
      ['looks like a tag', { $date: 'no' }],
      ['large', 'grüße '.repeat(30_000)],
      ['*?[a]\\', 'a key with all signs of patterns'],
    ])
    for (const [key, value] of values) await cluster.run(cache.set(key, value))
    await cluster.run(cache.set('tagged', 1, { tags: ['a', 'b'], ttl: '1h' }))
    await cluster.run(cache.increment('counter', 41))
    await cluster.run(cache.region('sessions').set('s', 'in sessions'))
    const before = await cluster.run(cache.getEntry('tagged'))
    const client = await rawClient()
    const pieces: string[] = []
    const regions = [regionNamed('default'), regionNamed('sessions')]
    await cluster.run(exporterOf(client, pieces, { regions }).run())
    const text = pieces.join('')
    expect(text.trim().split('\n')).toHaveLength(values.size + 3 + 2)
    cluster.close()

    cluster = await createTestCluster({
      nodes: 5,
      seed: 2,
      regions: [{ name: 'default' }, { name: 'sessions' }],
    })
    const other = await cluster.connect()
    const counts = await imported(importerOf(await rawClient()), text)
    expect(counts).toMatchObject({ stored: values.size + 3, kept: 0, badLines: 0, isCutOff: false })
    for (const [key, value] of values) deepStrictEqual(await cluster.run(other.get(key)), value)
    expect(await cluster.run(other.increment('counter'))).toBe(42)
    expect(await cluster.run(other.region('sessions').get('s'))).toBe('in sessions')
    const after = await cluster.run(other.getEntry('tagged'))
    expect(after?.tags).toEqual(before?.tags)
    const expiresAt = before?.expiresAt as number
    // Its way to the node takes a few milliseconds.
    expect(Math.abs((after?.expiresAt as number) - expiresAt)).toBeLessThan(100)
    expect(await cluster.run(other.ttl('map'))).toBe(Number.POSITIVE_INFINITY)
  })

  it('holds each key once while partitions move and a node dies', async () => {
    cluster = await createTestCluster({ nodes: 4, seed: 5 })
    const cache = await cluster.connect()
    const keys = Array.from({ length: 400 }, (_, i) => `key:${i}`)
    await cluster.run(cache.mset(keys.map((key, i) => [key, i] as const)))
    const pieces: string[] = []
    const exporter = exporterOf(await rawClient(), pieces, { perSecond: 40 })
    const running = exporter.run()
    cluster.startNode(cluster.addNode())
    await cluster.waitFor(() => exporter.counts.entries > 100)
    cluster.killNode(cluster.nodes[1] as never)
    await cluster.run(running)
    const written = pieces
      .join('')
      .trim()
      .split('\n')
      .slice(1, -1)
      .map((line) => (JSON.parse(line) as { key: string }).key)
    expect(written.sort()).toEqual([...keys].sort())
  })

  it('takes a prefix as it is, and leaves out what is gone', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const cache = await cluster.connect()
    await cluster.run(cache.mset({ 'a*b:1': 1, 'axb:1': 2, 'a*b:2': 3 }))
    await cluster.run(cache.set('a*b:3', 4, { ttl: 100 }))
    await cluster.run(cluster.time.advance(200))
    const pieces: string[] = []
    const exporter = exporterOf(await rawClient(), pieces, { prefix: 'a*b:', withMeta: true })
    await cluster.run(exporter.run())
    expect(exporter.counts.entries).toBe(2)
    expect(pieces.join('')).toMatch(/"version":\[\d+,\d+\],"createdAt":"/)
  })

  it('keeps to its rate, and ends at once when it is stopped', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const cache = await cluster.connect()
    await cluster.run(cache.mset(Array.from({ length: 100 }, (_, i) => [`key:${i}`, i] as const)))
    const client = await rawClient()
    const startMs = cluster.time.monotonicMs()
    await cluster.run(exporterOf(client, [], { perSecond: 20 }).run())
    expect(cluster.time.monotonicMs() - startMs).toBeGreaterThan(3500)
    const stop = new AbortController()
    const running = failure(exporterOf(client, [], { perSecond: 1, signal: stop.signal }).run())
    stop.abort()
    const stoppedMs = cluster.time.monotonicMs()
    expect((await running).code).toBe('ABORTED')
    expect(cluster.time.monotonicMs() - stoppedMs).toBeLessThan(100)
  })

  it('reads on only when its lines are written', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const cache = await cluster.connect()
    for (let i = 0; i < 60; i++) await cluster.run(cache.set(`key:${i}`, String(i).repeat(40_000)))
    const client = await rawClient()
    let release = (): void => {}
    const exporter = new Exporter(
      client,
      { clock: cluster.clientHost('tool'), scheduler: cluster.clientHost('tool') },
      {
        cluster: 'test',
        regions: [regionNamed('default')],
        prefix: '',
        perSecond: undefined,
        withMeta: false,
        signal: new AbortController().signal,
      },
      () =>
        new Promise((resolve) => {
          release = resolve
        }),
    )
    const running = exporter.run()
    await cluster.run(cluster.time.advance(5000))
    expect(exporter.counts.entries).toBeLessThan(5)
    const done = running.then(() => true)
    const step = async (): Promise<void> => {
      release()
      await cluster.time.advance(10)
    }
    for (let i = 0; i < 200; i++) await cluster.run(step())
    expect(await cluster.run(done)).toBe(true)
    expect(exporter.counts.entries).toBe(60)
  })
})

describe('an import', () => {
  const three =
    '{"key":"a","value":1}\n{"region":"default","key":"b","value":2,"ttl":"1h"}\n{"key":"c","value":3,"expiresAt":1000}\n'

  it('leaves what is there, or replaces it, and drops what has expired', async () => {
    cluster = await createTestCluster({ nodes: 3 })
    const cache = await cluster.connect()
    await cluster.run(cache.set('a', 'here'))
    const client = await rawClient()
    expect(await imported(importerOf(client, { dryRun: true }), three)).toMatchObject({ stored: 1, kept: 1 })
    expect(await cluster.run(cache.has('b'))).toBe(false)
    expect(await imported(importerOf(client), three)).toMatchObject({
      lines: 3,
      stored: 1,
      kept: 1,
      expired: 1,
    })
    expect(await cluster.run(cache.mget(['a', 'b', 'c']))).toEqual(['here', 2, undefined])
    expect(await imported(importerOf(client, { overwrite: true }), three)).toMatchObject({
      stored: 2,
      kept: 0,
    })
    expect(await cluster.run(cache.get('a'))).toBe(1)
  })

  it('has the last of several lines of one key, in whatever order writes end', async () => {
    cluster = await createTestCluster({ nodes: 3 })
    const cache = await cluster.connect()
    const large = JSON.stringify('x'.repeat(500_000))
    const text = `{"key":"a","value":${large}}\n{"key":"a","value":2}\n`
    await imported(importerOf(await rawClient(), { overwrite: true }), text)
    expect(await cluster.run(cache.get('a'))).toBe(2)
  })

  it('ends at a bad line with its place, and keeps what was before it', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const cache = await cluster.connect()
    const text = '{"key":"a","value":1}\n\n{"key":"b","valu":1}\n{"key":"c","value":1}\n'
    const error = await failure(importerOf(await rawClient()).run(bytesOf(text)))
    expect(error.message).toMatch(/^dump\.jsonl:3: an entry has no member "valu"; .* --skip-bad-lines/)
    expect(await cluster.run(cache.mget(['a', 'b', 'c']))).toEqual([1, undefined, undefined])
    const counts = await imported(importerOf(await rawClient(), { skipBadLines: true }), text)
    expect(counts).toMatchObject({ stored: 1, kept: 1, badLines: 1 })
    expect(counts.problems).toHaveLength(1)
  })

  it('names the line of a key that the cluster refuses', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const text = `{"key":"a","value":1}\n{"key":"${'k'.repeat(2000)}","value":1}\n`
    const error = await failure(importerOf(await rawClient()).run(bytesOf(text)))
    expect(error.message).toMatch(/^dump\.jsonl:2: the key .* 1024 bytes/)
    const counts = await imported(importerOf(await rawClient(), { skipBadLines: true }), text)
    expect(counts).toMatchObject({ kept: 1, badLines: 1 })
  })

  it('says that a file was cut off', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const head = '{"ringcache":"export","format":1,"regions":[]}\n'
    const client = await rawClient()
    const cut = await imported(importerOf(client, { overwrite: true }), head, three)
    expect(cut.isCutOff).toBe(true)
    const end = '{"ringcache":"end","entries":3}\n'
    const whole = await imported(importerOf(client, { overwrite: true }), head, three, end)
    expect(whole.isCutOff).toBe(false)
  })

  it('asks for each region once, and takes only what it is told to', async () => {
    cluster = await createTestCluster({ nodes: 1, regions: [{ name: 'default' }, { name: 'other' }] })
    const cache = await cluster.connect()
    const asked: string[] = []
    const require: RequireRegion = async (name) => {
      asked.push(name)
      return true
    }
    const text = '{"key":"x:1","value":1}\n{"region":"gone","key":"x:2","value":2}\n{"key":"y","value":3}\n'
    const client = await rawClient()
    const into = await imported(importerOf(client, { into: 'other', prefix: 'x:' }, require), text)
    expect([into.stored, into.filtered, asked]).toEqual([2, 1, ['other']])
    expect(await cluster.run(cache.region('other').mget(['x:1', 'x:2']))).toEqual([1, 2])
    const only = await imported(importerOf(client, { region: 'default' }, require), text)
    expect([only.stored, only.filtered, asked]).toEqual([2, 1, ['other', 'default']])
  })

  it('rides through the death of a node', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 3 })
    const cache = await cluster.connect()
    const lines = Array.from({ length: 600 }, (_, i) => `{"key":"key:${i}","value":${i}}\n`)
    const importer = importerOf(await rawClient(), { perSecond: 200 })
    const running = importer.run(bytesOf(...lines))
    await cluster.waitFor(() => importer.counts.stored > 100)
    cluster.killNode(cluster.nodes[0] as never)
    await cluster.run(running)
    expect(importer.counts.stored + importer.counts.kept).toBe(600)
    const values = await cluster.run(cache.mget(lines.map((_, i) => `key:${i}`)))
    expect(values).toEqual(lines.map((_, i) => i))
  })

  it('ends at once when it is stopped', async () => {
    cluster = await createTestCluster({ nodes: 1 })
    const stop = new AbortController()
    const importer = importerOf(await rawClient(), { perSecond: 1, signal: stop.signal })
    const running = failure(importer.run(bytesOf(three, three, three)))
    stop.abort()
    expect((await running).code).toBe('ABORTED')
  })
})
