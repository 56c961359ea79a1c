/**
 * Kills nodes at random moments of their snapshots, and looks at what is left: no snapshot that is listed may be damaged, what
 * was acknowledged may be lost only if all processes ended, and then only what was written within the stated window.
 *
 * Rounds of five kinds: one node; all nodes; all nodes, and once more while they load, join and start over; one node or all while the
 * cluster is backed up; one node while a backup is restored. All the time the cluster backs itself up by schedule, too. What an
 * interrupted command left is gone on with, and every backup that is listed as complete is read from beginning to end.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackupListing } from '../../../src/backup/cluster-backups.ts'
import { connect } from '../../../src/client/connect.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { ChaosCluster } from '../cluster/chaos-cluster.ts'
import type { ChaosNode } from '../cluster/chaos-node.ts'
import { CommandLine } from '../command-line.ts'
import { nowMs } from '../monotonic.ts'
import { DirectNetwork } from '../network/direct-network.ts'
import { say } from '../say.ts'
import { Counters } from './counters.ts'
import { auditSnapshots, slowestSnapshotMs } from './snapshot-audit.ts'

export interface KillOptions {
  readonly kills: number
  readonly seed: number
  readonly firstPort: number
  /** Where logs, data and the report go. */
  readonly folder: string
  /** The checkout whose dist is run. */
  readonly build: string
  /** Entries of 4 KiB that never change: they make snapshots last. */
  readonly still: number
}

export interface KillReport {
  readonly passed: boolean
  readonly seed: number
  readonly kills: number
  readonly rounds: Readonly<Record<Round, number>>
  /** Snapshots that killed nodes listed, every byte of which was read, and those that the kills cut short. */
  readonly audited: number
  readonly cutShort: number
  /** Backups of the cluster of which every byte was read, those made by schedule included. */
  readonly verified: number
  /** Backups and restores that ended with an error as a node was killed, and went through when asked for again. */
  readonly askedAgain: number
  readonly acknowledged: number
  /** How long before the end of all processes the oldest write was that was lost, and how long that might have been. */
  readonly lostMsMax: number
  readonly windowMs: number
  readonly seconds: number
  readonly problems: readonly string[]
}

type Round = 'one' | 'all' | 'again' | 'backup' | 'restore'

const ROUNDS: readonly (readonly [Round, number])[] = [
  ['one', 0.2],
  ['all', 0.3],
  ['again', 0.2],
  ['backup', 0.15],
  ['restore', 0.15],
]
const NODES = 3
const SCHEDULE = '*/20 * * * * *'
const BACKUPS_KEPT = 3
/** What all nodes read and write of a backup in a second. */
const BACKUP_RATE = '4mb'
const INTERVAL_MS = 1000
const BYTES_PER_SECOND = 2 * 1024 * 1024
const SNAPSHOTS = { interval: '1s', keep: 1, bytesPerSecond: '2mb' }
const STILL_BYTES = 4096
/** Between the moment that a round takes for that of the kills and the kills. */
const SLACK_MS = 500
const PROBLEMS_MAX = 20

export async function runKills(options: KillOptions): Promise<KillReport> {
  const { folder } = options
  mkdirSync(folder, { recursive: true })
  await using network = new DirectNetwork(options.firstPort)
  await network.addClient('client')
  await using cluster = await ChaosCluster.start({
    nodes: NODES,
    spares: 0,
    network,
    build: options.build,
    folder,
    partitions: 64,
    smallDisk: false,
    falseClock: false,
    snapshots: SNAPSHOTS,
    backup: { schedule: SCHEDULE, keep: BACKUPS_KEPT, folder: join(folder, 'scheduled') },
  })
  await using cache = await connect({ nodes: cluster.addresses, timeout: 5000, connectTimeout: 30_000 })
  const random = new SeededRandom(options.seed)
  const counters = new Counters(cache, random, {
    counters: 400,
    still: options.still,
    stillBytes: STILL_BYTES,
  })
  const run = new KillRun(options, cluster, counters, new CommandLine(cluster, 'client'), random)
  const report = await run.run()
  writeFileSync(join(folder, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`)
  return report
}

class KillRun {
  readonly #options: KillOptions
  readonly #cluster: ChaosCluster
  readonly #counters: Counters
  readonly #commandLine: CommandLine
  readonly #random: SeededRandom
  readonly #problems: string[] = []
  readonly #rounds: Record<Round, number> = { one: 0, all: 0, again: 0, backup: 0, restore: 0 }
  #kills = 0
  #audited = 0
  #cutShort = 0
  #verified = 0
  #askedAgain = 0
  #backups = 0

  constructor(
    options: KillOptions,
    cluster: ChaosCluster,
    counters: Counters,
    commandLine: CommandLine,
    random: SeededRandom,
  ) {
    this.#options = options
    this.#cluster = cluster
    this.#counters = counters
    this.#commandLine = commandLine
    this.#random = random
  }

  async run(): Promise<KillReport> {
    const { kills, seed } = this.#options
    const startedMs = nowMs()
    await this.#untilSafe()
    await this.#counters.fill()
    await this.#settle()
    while (this.#kills < kills && this.#allProblems.length === 0) await this.#round()
    await this.#verifyScheduled()
    const { acknowledged, lostMsMax } = this.#counters
    return {
      passed: this.#allProblems.length === 0,
      seed,
      kills: this.#kills,
      rounds: this.#rounds,
      audited: this.#audited,
      cutShort: this.#cutShort,
      verified: this.#verified,
      askedAgain: this.#askedAgain,
      acknowledged,
      lostMsMax: Math.round(lostMsMax),
      windowMs: Math.round(this.#windowMs),
      seconds: Math.round((nowMs() - startedMs) / 1000),
      problems: this.#allProblems.slice(0, PROBLEMS_MAX),
    }
  }

  get #allProblems(): readonly string[] {
    return [...this.#problems, ...this.#counters.problems, ...this.#cluster.surprises]
  }

  async #round(): Promise<void> {
    const kind = this.#draw()
    this.#rounds[kind]++
    switch (kind) {
      case 'one':
        await this.#killOne()
        break
      case 'all':
      case 'again':
        await this.#killAll(kind === 'again')
        break
      case 'backup':
        await this.#killBackup()
        break
      case 'restore':
        await this.#killRestore()
        break
    }
    this.#say(kind)
  }

  #draw(): Round {
    let dice = uniform(this.#random)
    for (const [kind, share] of ROUNDS) {
      dice -= share
      if (dice < 0 && (kind !== 'restore' || this.#backups > 0)) return kind
    }
    return 'all'
  }

  async #killOne(): Promise<void> {
    const counters = this.#counters
    await this.#write()
    // Those that go on have to acknowledge what is written.
    await this.#kill([this.#anyNode()])
    await this.#audit()
    await this.#start()
    await counters.stop()
    await this.#untilSafe()
    await counters.check(Number.POSITIVE_INFINITY, undefined)
  }

  async #killAll(again: boolean): Promise<void> {
    const counters = this.#counters
    const { nodes } = this.#cluster
    await this.#write()
    const endedMs = nowMs()
    const stopped = counters.stop()
    await this.#kill(nodes)
    await stopped
    await this.#audit()
    await this.#start()
    if (again) {
      await sleep(this.#between(0, 2500))
      await this.#kill(uniform(this.#random) < 0.6 ? nodes : nodes.slice(0, 2))
      await this.#audit()
      await this.#start()
    }
    await this.#untilSafe()
    await counters.check(endedMs - this.#windowMs, endedMs)
  }

  async #killBackup(): Promise<void> {
    const counters = this.#counters
    const { nodes } = this.#cluster
    const endsAll = uniform(this.#random) < 0.3
    const name = `backup-${this.#backups + 1}`
    counters.start()
    const making = this.#commandLine.ask('snapshot', 'create', name, ...this.#place, '--rate', BACKUP_RATE)
    await sleep(this.#between(200, 5000))
    const endedMs = nowMs()
    const stopped = endsAll ? counters.stop() : undefined
    await this.#kill(endsAll ? nodes : [this.#anyNode()])
    await stopped
    await this.#audit()
    await this.#start()
    const { code } = await making
    await counters.stop()
    await this.#untilSafe()
    if (code !== 0) await this.#again('snapshot', 'create', name, ...this.#place, '--resume')
    this.#backups++
    await this.#verify(name, this.#place)
    await counters.check(
      endsAll ? endedMs - this.#windowMs : Number.POSITIVE_INFINITY,
      endsAll ? endedMs : undefined,
    )
  }

  async #killRestore(): Promise<void> {
    const counters = this.#counters
    const restore = ['snapshot', 'restore', `backup-${this.#backups}`, ...this.#place, '--prefix', 'still-']
    await counters.dropStill()
    const restoring = this.#commandLine.ask(...restore, '--rate', BACKUP_RATE)
    await sleep(this.#between(200, 5000))
    await this.#kill([this.#anyNode()])
    await this.#audit()
    await this.#start()
    const { code } = await restoring
    await this.#untilSafe()
    if (code !== 0) await this.#again(...restore)
    await counters.check(Number.POSITIVE_INFINITY, undefined)
    await this.#settle()
  }

  /** For a while, up to a random moment. */
  async #write(): Promise<void> {
    const counters = this.#counters
    counters.start()
    await sleep(this.#between(0, 4000))
    await counters.writeExpiring()
    await sleep(this.#between(0, 1500))
  }

  /** Until what was written is in snapshots. */
  async #settle(): Promise<void> {
    const wholeMs = (2 * 1000 * this.#options.still * STILL_BYTES) / BYTES_PER_SECOND
    await sleep(Math.max(2 * INTERVAL_MS + wholeMs, this.#windowMs))
  }

  get #place(): readonly string[] {
    return ['--to', join(this.#options.folder, 'backups')]
  }

  async #again(...words: readonly string[]): Promise<void> {
    this.#askedAgain++
    const { code, output } = await this.#commandLine.ask(...words)
    if (code !== 0) this.#problems.push(`${words.join(' ')} does not go on: ${output}`)
  }

  async #verify(name: string, place: readonly string[]): Promise<void> {
    const { code, output } = await this.#commandLine.ask('snapshot', 'verify', name, ...place)
    this.#verified++
    // Retention may have removed it since it was listed.
    if (code !== 0 && (await this.#isListed(name, place)))
      this.#problems.push(`the backup ${name} is not good: ${output}`)
  }

  async #isListed(name: string, place: readonly string[]): Promise<boolean> {
    const { code, output } = await this.#commandLine.ask('snapshot', 'list', ...place, '-o', 'json')
    return code !== 0 || (JSON.parse(output) as BackupListing[]).some((backup) => backup.name === name)
  }

  async #verifyScheduled(): Promise<void> {
    for (const place of [['--to', join(this.#options.folder, 'scheduled')], this.#place]) {
      const { code, output } = await this.#commandLine.ask('snapshot', 'list', ...place, '-o', 'json')
      if (code !== 0) {
        this.#problems.push(`backups can't be listed: ${output}`)
        continue
      }
      for (const { name, state, reason } of JSON.parse(output) as BackupListing[]) {
        if (state === 'complete') await this.#verify(name, place)
        else if (state === 'unusable') this.#problems.push(`the backup ${name} can't be used: ${reason}`)
      }
    }
  }

  #anyNode(): ChaosNode {
    const { nodes } = this.#cluster
    return nodes[this.#between(0, nodes.length - 1)] as ChaosNode
  }

  /** What was acknowledged earlier than this before the end of all processes must be there. */
  get #windowMs(): number {
    const { folder } = this.#options
    const writingMs = Math.max(
      ...this.#cluster.nodes.map(({ id }) => slowestSnapshotMs(join(folder, `${id}.log`))),
    )
    return Math.max(INTERVAL_MS, writingMs) + writingMs + SLACK_MS
  }

  async #kill(nodes: readonly ChaosNode[]): Promise<void> {
    this.#kills += nodes.filter((node) => node.isRunning).length
    await Promise.all(nodes.map((node) => node.kill()))
  }

  /** Of those that do not run. */
  async #audit(): Promise<void> {
    for (const node of this.#cluster.nodes) {
      if (node.isRunning) continue
      const { listed, unfinished, problems } = await auditSnapshots(
        node.dataDir,
        join(this.#options.folder, 'audit'),
      )
      this.#audited += listed
      this.#cutShort += unfinished
      for (const problem of problems) this.#problems.push(`${node.id}: ${problem}`)
    }
  }

  async #start(): Promise<void> {
    await Promise.all(this.#cluster.nodes.map((node) => (node.isRunning ? undefined : node.start())))
  }

  async #untilSafe(): Promise<void> {
    const { code, output } = await this.#commandLine.ask('cluster', 'safe', '--wait')
    if (code !== 0) this.#problems.push(`the cluster does not heal: ${output}`)
  }

  #say(kind: string): void {
    const { lostMsMax } = this.#counters
    say(
      `${String(this.#kills).padStart(4)} kills  ${kind.padEnd(8)} snapshots read ${this.#audited}, cut short ${this.#cutShort}, lost at most ${Math.round(lostMsMax)} of ${Math.round(this.#windowMs)} ms`,
    )
  }

  #between(min: number, max: number): number {
    return integerBetween(this.#random, min, max)
  }
}
