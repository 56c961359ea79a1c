/** The command line of the cluster under test, run as an operator would, from where a client is. */

import { execFile } from 'node:child_process'
import type { ChaosCluster } from './cluster/chaos-cluster.ts'
import type { End } from './network/network.ts'

export interface CommandResult {
  readonly code: number
  /** Both of its outputs. */
  readonly output: string
}

const TIMEOUT_MS = 120_000

export class CommandLine {
  readonly #cluster: ChaosCluster
  readonly #end: End

  constructor(cluster: ChaosCluster, end: End) {
    this.#cluster = cluster
    this.#end = end
  }

  /** A command that asks the nodes that run. */
  ask(...words: readonly string[]): Promise<CommandResult> {
    const { running, network } = this.#cluster
    return this.run(...words, '--address', running.map(({ id }) => network.addressOf(id)).join())
  }

  run(...words: readonly string[]): Promise<CommandResult> {
    const { main, network } = this.#cluster
    const { command, args, env } = network.launch(this.#end, process.execPath, [main, ...words])
    const options = { env: { ...process.env, ...env }, timeout: TIMEOUT_MS }
    return new Promise((resolve) => {
      execFile(command, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
        resolve({ code, output: `${stdout}${stderr}`.trim() })
      })
    })
  }
}
