/**
 * One run in which all processes of a cluster end at once, again and again, at any moment of their snapshots: while they are written,
 * loaded, removed, while partitions start over; on disks that lose what was not synced, that hang or are full for a while. The seed
 * decides everything.
 *
 * What has to hold, though all memory is lost each time:
 * - a key shows what it was in some moment after the last snapshots before the end, never anything older, nor what it never was;
 * - versions rise: none is given twice, none goes back;
 * - what has expired is gone;
 * - each snapshot that is listed can be read, every byte of it;
 * - the cluster heals within a bound.
 */

import type { Cache } from '../../../src/client/cache.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { compareVersions, type Version } from '../../../src/kernel/ids.ts'
import { silentLog } from '../../../src/kernel/log.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { immediateCompression } from '../../../src/snapshot/compression.ts'
import { SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'
import { simulatedSnapshotStore } from '../../../src/testing/simulated-snapshot-store.ts'
import { TestCluster, type TestNode } from '../../../src/testing/test-cluster.ts'
import { unhealed } from './healing.ts'
import { RunLog } from './run-log.ts'

export interface DisasterReport {
  readonly seed: number
  readonly violations: readonly string[]
  readonly disasters: number
  readonly operations: number
  /** Snapshots of which every byte was read. */
  readonly verified: number
  /** Keys that were found as they had been before the last write. */
  readonly rolledBack: number
  /** Partitions that began with a snapshot: keys found after all processes had ended. */
  readonly found: number
}

interface Written {
  /** Undefined: deleted. */
  readonly value: string | undefined
  readonly expiresAtMs: number
  readonly version: Version | undefined
  readonly calledMs: number
  /** Undefined: nobody knows whether it took effect. */
  readonly doneMs: number | undefined
}

interface Key {
  readonly name: string
  /** All that may be there, oldest first; the first was there for certain. */
  written: Written[]
  newest: Version
}

const KEYS_PER_WRITER = 25
const WRITERS = 3
const NOTHING: Written = { value: undefined, expiresAtMs: 0, version: undefined, calledMs: 0, doneMs: 0 }
/** Whoever comes back first waits for the others, loads, and takes over. */
const HEAL_MS_MAX = 120_000
/** A snapshot is written in less than this, with and without a limit of rate. */
const WRITING_SLOWLY_MS = 4000
const WRITING_MS = 500
const NOISE_BYTES = 200_000

export function disaster(seed: number, trace?: (line: string) => void): Promise<DisasterReport> {
  return new Disaster(seed, trace).run()
}

class Disaster {
  readonly #seed: number
  readonly #random: SeededRandom
  readonly #cluster: TestCluster
  readonly #log: RunLog
  readonly #intervalMs: number
  readonly #isSlow: boolean
  /** Can't be packed. */
  readonly #noise: string
  readonly #keys: Key[] = []
  #isOver = false
  #operations = 0
  #disasters = 0
  #verified = 0
  #rolledBack = 0
  #found = 0

  constructor(seed: number, trace: ((line: string) => void) | undefined) {
    this.#seed = seed
    this.#random = new SeededRandom(seed ^ 0x00d1_5a57)
    this.#intervalMs = this.#between(1000, 4000)
    this.#isSlow = this.#chance(0.5)
    this.#noise = Array.from({ length: NOISE_BYTES }, () => String.fromCharCode(this.#between(97, 122))).join(
      '',
    )
    this.#log = new RunLog(() => this.#cluster?.time.monotonicMs() ?? 0, trace)
    this.#cluster = new TestCluster({
      seed,
      nodes: this.#between(3, 4),
      node: {
        partitionCount: this.#between(3, 6),
        onMajorityLoss: 'serve',
        snapshots: {
          intervalMs: this.#intervalMs,
          onStop: true,
          keepFulls: this.#between(1, 2),
          bytesPerSecond: this.#isSlow ? 200_000 : 0,
        },
      },
      log: (nodeId) => this.#log.of(nodeId),
    })
  }

  async run(): Promise<DisasterReport> {
    const { time } = this.#cluster
    try {
      await this.#cluster.start()
      const writers = await Promise.all(Array.from({ length: WRITERS }, (_, i) => this.#writer(i)))
      for (let round = this.#between(2, 4); round > 0; round--) {
        await time.advance(this.#between(500, 3 * this.#intervalMs + 3000))
        await this.#strike()
        await this.#heal()
        await this.#look()
      }
      this.#isOver = true
      await this.#cluster.run(Promise.all(writers.map(({ done }) => done)), 60_000)
      for (const node of this.#cluster.nodes) await this.#verify(node)
    } catch (error) {
      this.#log.violation(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    this.#cluster.close()
    return {
      seed: this.#seed,
      violations: this.#log.violations,
      disasters: this.#disasters,
      operations: this.#operations,
      verified: this.#verified,
      rolledBack: this.#rolledBack,
      found: this.#found,
    }
  }

  /** A client that writes keys of its own, one operation at a time. */
  async #writer(number: number): Promise<{ done: Promise<void> }> {
    const name = `client-${number}`
    const cache = await this.#cluster.connect<string>({ timeout: 1500, connectTimeout: 20_000 }, name)
    const keys = Array.from({ length: KEYS_PER_WRITER }, (_, i) => ({
      name: `${number}-${i}`,
      written: [NOTHING],
      newest: { partitionEpoch: 0, sequence: 0 } as Version,
    }))
    this.#keys.push(...keys)
    const host = this.#cluster.clientHost(name)
    const go = async (): Promise<void> => {
      for (let counter = 0; !this.#isOver; counter++) {
        await new Promise<void>((resolve) => host.after(uniform(this.#random) * 40, resolve))
        if (this.#looking) continue
        await this.#writeOne(cache, keys[this.#between(0, keys.length - 1)] as Key, `${number}.${counter}`)
      }
    }
    return { done: go() }
  }

  async #writeOne(cache: Cache<string>, key: Key, value: string): Promise<void> {
    const { time } = this.#cluster
    const calledMs = time.monotonicMs()
    const dice = uniform(this.#random)
    const ttl = dice < 0.2 ? this.#between(500, 8000) : 0
    let version: Version | undefined
    let doneMs: number | undefined
    const isDelete = dice > 0.85
    const from = this.#between(0, NOISE_BYTES / 2)
    const bytes = this.#chance(0.02) ? this.#between(66_000, 90_000) : this.#between(0, 6000)
    const whole = `${value}:${this.#noise.slice(from, from + bytes)}`
    try {
      if (isDelete) await cache.delete(key.name)
      else version = await cache.set(key.name, whole, ttl === 0 ? {} : { ttl })
      doneMs = time.monotonicMs()
      this.#operations++
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      if (error.code === 'INVALID_ARGUMENT') throw error
      if (error.code !== 'OUTCOME_UNKNOWN') return
    }
    const expiresAtMs = isDelete || ttl === 0 ? Number.POSITIVE_INFINITY : calledMs + ttl
    key.written.push({ value: isDelete ? undefined : value, expiresAtMs, version, calledMs, doneMs })
    if (version !== undefined) this.#rises(key, version)
  }

  #rises(key: Key, version: Version): void {
    if (compareVersions(version, key.newest) <= 0)
      this.#log.violation(`${key.name}: version ${text(version)} after ${text(key.newest)}`)
    key.newest = version
  }

  async #strike(): Promise<void> {
    const { time, nodes } = this.#cluster
    this.#disasters++
    // Something is wrong with a disk, before or after.
    const ill = this.#chance(0.3) ? nodes[this.#between(0, nodes.length - 1)] : undefined
    const illness = this.#chance(0.5) ? 'full' : 'hangs'
    const disk = ill?.snapshotDisk
    // What it keeps nobody from: the others have newer snapshots, or it has older ones.
    const isHarmless = this.#chance(0.5)
    if (disk !== undefined && !isHarmless) {
      this.#log.say(`the snapshot disk of ${ill?.nodeId} ${illness}`)
      disk[illness] = true
    }
    await time.advance(this.#between(0, 300) / 10)
    const spreadMs = this.#chance(0.5) ? 0 : this.#between(1, 400)
    this.#log.say(`ALL END, within ${spreadMs} ms`)
    const endings = nodes.map(async (node) => {
      await new Promise<void>((resolve) => time.after(uniform(this.#random) * spreadMs, resolve))
      this.#kill(node)
    })
    await this.#cluster.run(Promise.all(endings), 10_000)
    for (const node of nodes) if (this.#chance(0.2)) await this.#verify(node)
    this.#endedMs = time.monotonicMs()
    // Mostly nobody writes before all has been looked at: what is new hides what was lost.
    this.#looking = this.#chance(0.8)
    if (disk !== undefined) disk[illness] = false
    await time.advance(this.#between(0, 6000))
    for (const node of nodes) {
      time.after(this.#between(0, 3000), () => this.#start(node))
      // And again, while it loads, joins, or starts over.
      if (!this.#chance(0.3)) continue
      time.after(this.#between(3000, 7000), () => {
        this.#kill(node)
        time.after(this.#between(10, 2000), () => this.#start(node))
      })
    }
    await time.advance(10_000)
  }

  #endedMs = 0
  /** Nobody writes. */
  #looking = false

  #kill(node: TestNode): void {
    if (node.core === undefined) return
    this.#log.say(`${node.nodeId} ends; writing ${node.core.status().snapshots?.isWriting}`)
    this.#cluster.killNode(node, { what: this.#chance(0.2) ? 'power' : 'process' })
  }

  #start(node: TestNode): void {
    if (node.core !== undefined) return
    this.#log.say(`${node.nodeId} starts`)
    this.#cluster.startNode(node)
  }

  async #heal(): Promise<void> {
    const { time } = this.#cluster
    const startMs = time.monotonicMs()
    let problems = unhealed(this.#cluster)
    while (problems.length > 0) {
      if (time.monotonicMs() - startMs > HEAL_MS_MAX) {
        for (const problem of problems.slice(0, 3)) this.#log.violation(`not healed: ${problem}`)
        return
      }
      await time.advance(100)
      problems = unhealed(this.#cluster)
    }
    this.#log.say(`healed after ${Math.round(time.monotonicMs() - startMs)} ms`)
  }

  /** Reads all keys, while nobody writes: each has to be as it was in some moment within the window, or since. */
  async #look(): Promise<void> {
    const { time } = this.#cluster
    this.#looking = true
    await time.advance(4000)
    const reader = await this.#cluster.connect<string>({ timeout: 10_000 }, 'reader')
    const writingMs = this.#isSlow ? WRITING_SLOWLY_MS : WRITING_MS
    const floorMs = this.#endedMs - Math.max(this.#intervalMs, writingMs) - writingMs
    for (const key of this.#keys) {
      const entry = await this.#cluster.run(reader.getEntry(key.name), 30_000)
      const value = entry?.value.split(':')[0]
      this.#judge(key, value, entry?.version, floorMs)
    }
    this.#looking = false
  }

  #judge(key: Key, value: string | undefined, version: Version | undefined, floorMs: number): void {
    const nowMs = this.#cluster.time.monotonicMs()
    const { written } = key
    // The last that was there for certain before the window began; what came later may be lost, what came before is over.
    const first = written.findLastIndex(({ doneMs }) => doneMs !== undefined && doneMs <= floorMs)
    const since = written.slice(Math.max(0, first))
    const stood = since.findLast((one) =>
      value === undefined ? one.value === undefined || one.expiresAtMs <= nowMs : one.value === value,
    )
    if (stood === undefined) {
      const earlier = written.find((one) => one.value === value)
      this.#log.violation(
        `${key.name} is ${value}${earlier === undefined ? '' : ` of ${earlier.doneMs}`}, but was, from ${floorMs} on: ${since.map((one) => `${one.value} at ${one.calledMs}..${one.doneMs}`).join(', ')}`,
      )
      return
    }
    if (value !== undefined && stood.expiresAtMs + 200 < nowMs)
      this.#log.violation(`${key.name} is still ${value}, which expired at ${stood.expiresAtMs}`)
    if (version !== undefined && stood.version !== undefined && compareVersions(version, stood.version) !== 0)
      this.#log.violation(`${key.name} has version ${text(version)}, and was given ${text(stood.version)}`)
    if (value !== undefined) this.#found++
    if (stood !== written.at(-1)) this.#rolledBack++
    key.written = [{ ...stood, doneMs: 0 }]
  }

  /** Every snapshot that a process would list has to be good. The process is dead, or at rest. */
  async #verify(node: TestNode): Promise<void> {
    const { host, snapshotDisk } = node
    if (snapshotDisk === undefined || snapshotDisk.hangs) return
    const isFull = snapshotDisk.full
    const work = async (): Promise<void> => {
      const library = await SnapshotLibrary.open({
        store: simulatedSnapshotStore(snapshotDisk),
        compression: immediateCompression,
        clock: host,
        scheduler: host,
        random: this.#random,
        log: silentLog,
      })
      for (const { id, error } of library.unusable())
        this.#log.violation(`${node.nodeId}: ${id} can't be used: ${error.message}`)
      for (const { id } of library.list()) {
        const { problems } = await library.verify(id)
        this.#verified++
        for (const { error } of problems)
          this.#log.violation(`${node.nodeId}: ${id} is listed: ${error.message}`)
      }
    }
    if (node.core !== undefined) return
    await this.#cluster.run(work(), 60_000)
    snapshotDisk.full = isFull
  }

  #chance(share: number): boolean {
    return uniform(this.#random) < share
  }

  #between(min: number, max: number): number {
    return integerBetween(this.#random, min, max)
  }
}

function text({ partitionEpoch, sequence }: Version): string {
  return `${partitionEpoch}.${sequence}`
}
