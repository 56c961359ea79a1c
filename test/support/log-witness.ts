/** A log that remembers what must never be written to it. */

import type { Log } from '../../src/kernel/log.ts'

export class LogWitness {
  /** Lines at level error, and any that report INTERNAL: each is a bug. */
  readonly bugs: string[] = []
  readonly log: Log = {
    debug: (message, fields) => this.#line('debug', message, fields),
    info: (message, fields) => this.#line('info', message, fields),
    warn: (message, fields) => this.#line('warn', message, fields),
    error: (message, fields) => this.#line('error', message, fields),
  }

  #line(level: string, message: string, fields: object | undefined): void {
    const code = fields !== undefined && 'code' in fields ? fields.code : undefined
    if (level !== 'error' && code !== 'INTERNAL') return
    const cause = fields !== undefined && 'error' in fields ? fields.error : undefined
    const text =
      cause instanceof Error ? `${cause.message} ${String((cause.cause as Error | undefined)?.stack)}` : ''
    if (this.bugs.length < 20) this.bugs.push(`${level}: ${message} ${JSON.stringify(fields)} ${text}`)
  }
}
