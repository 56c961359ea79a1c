/** One node of a chaos run: a process of the command line, `dist/cli/main.js start`, and what is done to it. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { nowMs } from '../monotonic.ts'
import type { ChaosNetwork } from '../network/network.ts'
import type { FalseClock } from './false-clock.ts'

const UP_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 15_000
const POLL_MS = 10

/** A killed runner must not leave nodes behind. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface ChaosNodeOptions {
  readonly id: string
  readonly network: ChaosNetwork
  /** `dist/cli/main.js` */
  readonly main: string
  readonly configFile: string
  readonly dataDir: string
  readonly logFile: string
  readonly clock: FalseClock | undefined
}

export class ChaosNode {
  readonly id: string
  readonly dataDir: string
  readonly clock: FalseClock | undefined
  readonly #options: ChaosNodeOptions
  #child: ChildProcess | undefined
  #paused = false
  /** Ends that nobody asked for, in words. */
  readonly surprises: string[] = []
  #endExpected = false

  constructor(options: ChaosNodeOptions) {
    this.id = options.id
    this.dataDir = options.dataDir
    this.clock = options.clock
    this.#options = options
  }

  get isRunning(): boolean {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  get isPaused(): boolean {
    return this.#paused
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Starts the process; resolves once it listens. */
  async start(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.id} runs already`)
    const { network, main, configFile, logFile, clock, id } = this.#options
    mkdirSync(this.dataDir, { recursive: true })
    const { command, args, env } = network.launch(id, process.execPath, [
      ...[main, 'start', '--config', configFile, '--node', id],
    ])
    appendFileSync(logFile, `--- started at ${new Date().toISOString()}\n`)
    const log = openSync(logFile, 'a')
    const child = spawn(command, args, {
      env: { ...process.env, ...env, ...clock?.env },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#child = child
    this.#endExpected = false
    running.add(child)
    child.once('exit', (code, signal) => {
      running.delete(child)
      network.nodeIsUp(id, false)
      if (!this.#endExpected) this.surprises.push(`${id} ended by itself: ${signal ?? `exit code ${code}`}`)
    })
    await this.#listening()
    network.nodeIsUp(id, true)
  }

  /** SIGKILL; resolves once the process is gone. */
  async kill(): Promise<void> {
    if (!this.isRunning) return
    this.#endExpected = true
    const gone = once(this.#child as ChildProcess, 'exit')
    this.#child?.kill('SIGKILL')
    await gone
    this.#paused = false
  }

  /** SIGTERM: the process ends in order. */
  async stop(): Promise<void> {
    if (!this.isRunning) return
    this.#endExpected = true
    const child = this.#child as ChildProcess
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => {
      this.surprises.push(`${this.id} did not end within ${STOP_TIMEOUT_MS} ms after SIGTERM`)
      child.kill('SIGKILL')
    }, STOP_TIMEOUT_MS)
    await gone
    clearTimeout(late)
  }

  pause(): void {
    this.#paused = true
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#paused = false
    this.#child?.kill('SIGCONT')
  }

  /** What the node kept on disk is gone. Only while it does not run. */
  wipe(): void {
    if (this.isRunning) throw new Error(`${this.id} still runs`)
    mkdirSync(this.dataDir, { recursive: true })
    for (const name of readdirSync(this.dataDir)) rmSync(join(this.dataDir, name), { recursive: true })
  }

  async #listening(): Promise<void> {
    const { network, id } = this.#options
    // What lives in a namespace can't be reached from here, and needs no proxies opened in front of it.
    if (network.kind === 'namespaces') return
    const [host, port] = network.addressOf(id).split(':') as [string, string]
    const giveUpAt = nowMs() + UP_TIMEOUT_MS
    while (!(await accepts(host, Number(port)))) {
      if (!this.isRunning) throw new Error(`${id} ended while it started; see ${this.#options.logFile}`)
      if (nowMs() > giveUpAt) throw new Error(`${id} does not listen after ${UP_TIMEOUT_MS} ms`)
      await sleep(POLL_MS)
    }
  }
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
