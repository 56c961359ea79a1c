/**
 * The wall clock of one process, moved at will by libfaketime (scripts/install-faketime.sh). Its monotonic clock stays right,
 * as it does when an administrator or NTP sets a machine's time.
 */

import { readdirSync, renameSync, writeFileSync } from 'node:fs'

/** How long a process may go on with the offset it read, in seconds. */
const CACHE_SECONDS = 1

export class FalseClock {
  readonly #file: string
  readonly env: Readonly<Record<string, string>>

  /** @param file where the offset is kept. */
  constructor(library: string, file: string) {
    this.#file = file
    this.set(0)
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: String(CACHE_SECONDS),
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    }
  }

  /** The library, or undefined where it is not installed. */
  static library(): string | undefined {
    for (const folder of ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib']) {
      const place = `${folder}/faketime`
      try {
        // The one for programs with threads, as Node.js is one.
        const file = readdirSync(place).find((name) => name === 'libfaketimeMT.so.1')
        if (file !== undefined) return `${place}/${file}`
      } catch {
        // No such folder.
      }
    }
    return undefined
  }

  /** Takes effect within a second. */
  set(offsetSeconds: number): void {
    const sign = offsetSeconds < 0 ? '-' : '+'
    writeFileSync(`${this.#file}.new`, `${sign}${Math.abs(offsetSeconds)}\n`)
    renameSync(`${this.#file}.new`, this.#file)
  }
}
