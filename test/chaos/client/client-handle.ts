/** A client process, as the runner sees it: methods that are carried out there. */

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChaosNetwork, End } from '../network/network.ts'
import type { ClientMethod, ClientMethods, Reply, Request } from './messages.ts'

const PROCESS = fileURLToPath(new URL('./client-process.ts', import.meta.url))

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

export class ClientHandle implements AsyncDisposable {
  readonly end: End
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #requests = 0

  constructor(network: ChaosNetwork, end: End) {
    this.end = end
    const { command, args, env } = network.launch(end, process.execPath, ['--import', 'tsx', PROCESS])
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
    })
    running.add(this.#child)
    this.#child.on('message', (message) => this.#replied(message as Reply))
    this.#child.once('exit', (code, signal) => {
      running.delete(this.#child)
      this.#failAll(new Error(`${end} ended: ${signal ?? `exit code ${code}`}`))
    })
    this.#child.on('error', (error) => this.#failAll(error))
  }

  call<M extends ClientMethod>(
    method: M,
    params: ClientMethods[M]['params'],
  ): Promise<ClientMethods[M]['result']> {
    const request: Request = { id: ++this.#requests, method, params }
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve: resolve as Waiting['resolve'], reject })
      this.#child.send(request, (error) => {
        if (error !== null && this.#waiting.delete(request.id)) reject(error)
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    // Left to the end of the process, a channel with advanced serialization is polled for ever (Node.js 20).
    this.#child.disconnect()
    this.#child.kill('SIGKILL')
    await gone
  }

  #replied({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    if (error === undefined) waiting.resolve(result)
    else waiting.reject(new Error(`${this.end}: ${error}`))
  }

  #failAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}
