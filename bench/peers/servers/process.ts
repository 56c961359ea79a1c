/**
 * Server processes that the bench starts and ends itself: each in a folder of its own under the system's temporary one,
 * removed at the end. Should the bench itself end early, they are killed with it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 5_000

const running = new Set<ServerProcess>()
process.on('exit', () => {
  for (const server of running) server.kill()
})

export class ServerProcess {
  readonly pid: number
  readonly folder: string
  readonly #child: ChildProcess
  readonly #command: string

  /** @param args given the folder the process may write to, which is also its working directory. */
  constructor(command: string, args: (folder: string) => readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'ringcache-bench-'))
    this.#command = command
    const log = openSync(join(this.folder, 'output.log'), 'w')
    this.#child = spawn(command, args(this.folder), {
      cwd: this.folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#child.on('error', () => {}) // told by waitFor
    this.pid = this.#child.pid ?? 0
    running.add(this)
  }

  get ended(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** What the process printed so far. */
  get output(): string {
    return readFileSync(join(this.folder, 'output.log'), 'utf8')
  }

  /** Asks until the answer is yes. @throws with the process's last words when it ends or takes too long. */
  async waitFor(what: string, isTrue: () => Promise<boolean> | boolean): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await isTrue())) {
      if (this.ended || performance.now() > deadline) {
        const state = this.ended ? 'ended' : 'is still not there'
        throw new Error(`${this.#command}: ${what}: ${state}. Its last words: ${this.output.slice(-400)}`)
      }
      await sleep(50)
    }
  }

  async stop(): Promise<void> {
    if (!this.ended) {
      const exited = new Promise((resolve) => this.#child.once('exit', resolve))
      this.#child.kill('SIGTERM')
      const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      await exited
      clearTimeout(killer)
    }
    this.kill()
  }

  /** At once, without waiting. */
  kill(): void {
    if (!this.ended) this.#child.kill('SIGKILL')
    running.delete(this)
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** @throws when one of the ports is taken, so that nothing else is measured by mistake. */
export async function requireFreePorts(ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    await new Promise<void>((resolve, reject) => {
      const probe = createServer()
      probe.once('error', () =>
        reject(new Error(`port ${port} is in use: stop what listens there, or give --port-base`)),
      )
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve()))
    })
  }
}
