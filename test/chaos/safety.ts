/**
 * Whether the cluster is whole: every node runs, every partition has all its copies in sync, and writes that all of them have to
 * acknowledge go through. Where the command line has `cluster safe` that is asked, too.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { ClientMethods } from './client/messages.ts'
import type { ChaosCluster } from './cluster/chaos-cluster.ts'
import type { CommandLine } from './command-line.ts'
import { nowMs } from './monotonic.ts'
import type { RemoteProcess } from './remote.ts'

const POLL_MS = 100
const PROBE_TIMEOUT_MS = 2_000

export class Safety {
  readonly #cluster: ChaosCluster
  readonly #client: RemoteProcess<ClientMethods>
  readonly #commandLine: CommandLine
  readonly #healMs: number
  #hasCommand = false

  constructor(
    cluster: ChaosCluster,
    client: RemoteProcess<ClientMethods>,
    commandLine: CommandLine,
    healMs: number,
  ) {
    this.#cluster = cluster
    this.#client = client
    this.#commandLine = commandLine
    this.#healMs = healMs
  }

  /** How it is found out, for the report. */
  get how(): string {
    return this.#hasCommand
      ? '`ringcache cluster safe`, all copies in sync, writes to all of them'
      : 'all copies in sync, writes to all of them'
  }

  /** Looks whether the command line can tell. */
  async detect(): Promise<void> {
    // The help of an unknown command is that of the program.
    const { output } = await this.#commandLine.run('cluster', '--help')
    this.#hasCommand = /^\s+safe\b/m.test(output)
  }

  /** @throws when it takes longer than allowed, with what is still missing. */
  async wait(): Promise<void> {
    const giveUpAt = nowMs() + this.#healMs
    for (;;) {
      const problem = await this.problem()
      if (problem === undefined) return
      if (nowMs() > giveUpAt)
        throw new Error(`the cluster is not whole ${this.#healMs / 1000} s after the fault ended: ${problem}`)
      await sleep(POLL_MS)
    }
  }

  async problem(): Promise<string | undefined> {
    const down = this.#cluster.nodes.filter((node) => !node.isRunning).map(({ id }) => id)
    if (down.length > 0) return `${down.join(', ')} not running`
    const { problem } = await this.#client.call('probe', { timeoutMs: PROBE_TIMEOUT_MS })
    if (problem !== undefined) return problem
    if (!this.#hasCommand) return undefined
    const { code, output } = await this.#commandLine.ask('cluster', 'safe')
    return code === 0 ? undefined : `cluster safe says ${code}: ${output.trim().slice(0, 300)}`
  }
}
