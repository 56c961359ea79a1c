/** Worker processes for simulations: each runs one task at a time. */

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { SeedAnswer, SeedTask } from './simulate-worker.ts'

interface Waiting {
  readonly task: SeedTask
  readonly resolve: (answer: SeedAnswer) => void
  readonly reject: (error: Error) => void
}

export class WorkerPool {
  readonly #idle: ChildProcess[] = []
  readonly #all: ChildProcess[] = []
  readonly #running = new Map<ChildProcess, Waiting>()
  readonly #waiting: Waiting[] = []
  #closed = false

  constructor(size: number) {
    for (let i = 0; i < size; i++) {
      const child = fork(fileURLToPath(new URL('./simulate-worker.ts', import.meta.url)), {
        // A run makes much garbage that lives shortly.
        execArgv: ['--max-semi-space-size=64', '--import', 'tsx'],
      })
      child.on('message', (answer) => this.#answered(child, answer as SeedAnswer))
      child.on('exit', (code) => this.#ended(child, code))
      this.#all.push(child)
      this.#idle.push(child)
    }
  }

  get size(): number {
    return this.#all.length
  }

  run(task: SeedTask): Promise<SeedAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject })
      this.#next()
    })
  }

  close(): void {
    this.#closed = true
    for (const child of this.#all) child.kill()
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#idle.length > 0) {
      const waiting = this.#waiting.shift() as Waiting
      const child = this.#idle.pop() as ChildProcess
      this.#running.set(child, waiting)
      child.send(waiting.task)
    }
  }

  #answered(child: ChildProcess, answer: SeedAnswer): void {
    this.#running.get(child)?.resolve(answer)
    this.#running.delete(child)
    this.#idle.push(child)
    this.#next()
  }

  #ended(child: ChildProcess, code: number | null): void {
    if (this.#closed) return
    const waiting = this.#running.get(child)
    const what = waiting === undefined ? '' : ` while it ran seeds ${waiting.task.seeds.join(', ')}`
    const error = new Error(`a simulation process ended with code ${code}${what}`)
    waiting?.reject(error)
    for (const other of this.#waiting.splice(0)) other.reject(error)
  }
}
