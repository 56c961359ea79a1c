/** Methods carried out in a process of our own, at some end of the network: the caller's side and the process's. */

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChaosNetwork, End } from './network/network.ts'

interface Request {
  readonly id: number
  readonly method: string
  readonly params: unknown
}

interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** They end with this process, however it ends. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** @typeParam M method → parameters and result */
export class RemoteProcess<M extends { [Name in keyof M]: { params: unknown; result: unknown } }>
  implements AsyncDisposable
{
  readonly end: End
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #requests = 0

  /** @param module the TypeScript file that serves the methods. */
  constructor(network: ChaosNetwork, end: End, module: string) {
    this.end = end
    const { command, args, env } = network.launch(end, process.execPath, ['--import', 'tsx', module])
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      cwd: ROOT,
    })
    running.add(this.#child)
    this.#child.on('message', (message) => this.#replied(message as Reply))
    this.#child.once('exit', (code, signal) => {
      running.delete(this.#child)
      this.#failAll(new Error(`${end} ended: ${signal ?? `exit code ${code}`}`))
    })
    this.#child.on('error', (error) => this.#failAll(error))
  }

  call<N extends keyof M & string>(method: N, params: M[N]['params']): Promise<M[N]['result']> {
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

/** In the process: carries out what is asked until the asking process ends. */
export function serveMethods<M extends { [Name in keyof M]: { params: unknown; result: unknown } }>(
  methods: {
    readonly [N in keyof M]: (params: M[N]['params']) => Promise<M[N]['result']>
  },
): void {
  process.on('message', ({ id, method, params }: Request) => {
    const reply = (answer: Omit<Reply, 'id'>): void => {
      process.send?.({ id, ...answer })
    }
    methods[method as keyof M](params).then(
      (result) => reply({ result }),
      (error: unknown) =>
        reply({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  process.once('disconnect', () => process.exit())
}
