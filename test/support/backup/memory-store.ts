/** A place for backups in memory, which can be told to hang, to fail and to lose bits. */

import { CacheError, throwIfAborted } from '../../../src/kernel/errors.ts'
import { checkObjectName } from '../../../src/kernel/object-name.ts'
import type {
  BackupCallOptions,
  BackupRange,
  BackupStore,
  StoredObject,
} from '../../../src/snapshot/backup-store.ts'

export class MemoryStore implements BackupStore {
  readonly where: string = 'memory'
  readonly objects: Map<string, Uint8Array> = new Map()
  /** What a step that names this object ends with. */
  failing: (what: 'put' | 'get' | 'list' | 'delete', name: string) => CacheError | 'hang' | undefined = () =>
    undefined

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: BackupCallOptions = {},
  ): Promise<number> {
    checkObjectName(name)
    const parts: Uint8Array[] = []
    for await (const piece of content) {
      throwIfAborted(options.signal)
      await this.#step('put', name)
      parts.push(Uint8Array.from(piece))
    }
    await this.#step('put', name)
    throwIfAborted(options.signal)
    const whole = Buffer.concat(parts)
    this.objects.set(name, whole)
    return whole.length
  }

  async *get(name: string, { from = 0, to, signal }: BackupRange = {}): AsyncIterable<Uint8Array> {
    throwIfAborted(signal)
    await this.#step('get', name)
    const bytes = this.objects.get(name)
    if (bytes === undefined) throw new CacheError('INVALID_ARGUMENT', `there is no ${name}`)
    const wanted = bytes.subarray(from, to)
    // Cut where nothing else is.
    for (let at = 0; at < wanted.length; at += 70_001) yield wanted.subarray(at, at + 70_001)
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    await this.#step('list', prefix)
    for (const [name, bytes] of [...this.objects])
      if (name.startsWith(prefix)) yield { name, bytes: bytes.length, modifiedMs: 1_700_000_000_000 }
  }

  async delete(names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.#step('delete', name)
      this.objects.delete(name)
    }
  }

  async close(): Promise<void> {}

  /** Turns one bit of an object. */
  damage(name: string, at: number): void {
    const bytes = this.objects.get(name)
    if (bytes === undefined) throw new Error(`there is no ${name}`)
    bytes[at] = (bytes[at] as number) ^ 1
  }

  #step(what: 'put' | 'get' | 'list' | 'delete', name: string): Promise<void> {
    const end = this.failing(what, name)
    if (end === 'hang') return new Promise(() => {})
    return end === undefined ? Promise.resolve() : Promise.reject(end)
  }
}
