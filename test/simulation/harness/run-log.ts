/** What a run has to say: what happened, line by line where somebody wants to read it, and what should not have happened. */

import type { Log } from '../../../src/kernel/log.ts'

/** One cause shows many times; the first few are enough. */
const VIOLATIONS_MAX = 20

export class RunLog {
  readonly violations: string[] = []
  readonly #nowMs: () => number
  readonly #print: ((line: string) => void) | undefined

  constructor(nowMs: () => number, print: ((line: string) => void) | undefined) {
    this.#nowMs = nowMs
    this.#print = print
  }

  /** Whether somebody reads it. */
  get isRead(): boolean {
    return this.#print !== undefined
  }

  say(line: string): void {
    this.#print?.(`${this.#nowMs().toFixed(2).padStart(10)} ${line}`)
  }

  violation(what: string): void {
    if (this.violations.length < VIOLATIONS_MAX)
      this.violations.push(`${this.#nowMs().toFixed(1)} ms: ${what}`)
    this.say(`VIOLATION ${what}`)
  }

  /** The log of one node. */
  of(nodeId: string): Log {
    const line =
      (level: string) =>
      (message: string, details?: object): void => {
        if (this.isRead)
          this.say(`${nodeId} ${level}: ${message} ${details === undefined ? '' : JSON.stringify(details)}`)
      }
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
  }
}
