/**
 * Where backups of a cluster lie, as a port: objects of bytes under names, in a folder or a bucket.
 *
 * An object is there whole or not at all, whatever happens while it is written: a backup's manifest, written last, can
 * so make the rest valid. Objects are never changed, only replaced and removed.
 *
 * Their names are those of kernel/object-name.ts.
 */

import { CacheError } from '../kernel/errors.ts'

export interface StoredObject {
  readonly name: string
  readonly bytes: number
  /** When it was written, in milliseconds of the store's own clock. */
  readonly modifiedMs: number
}

export interface BackupCallOptions {
  /** Ends the call with ABORTED; an object half written is not there then. */
  readonly signal?: AbortSignal
}

export interface BackupRange extends BackupCallOptions {
  /** The first byte wanted. Default 0. */
  readonly from?: number
  /** The byte behind the last one wanted. Default: the object's end. */
  readonly to?: number
}

export interface BackupStore {
  /** For people: the folder, or the bucket with its prefix. Holds no secrets. */
  readonly where: string
  /**
   * @param content read at the pace of the store; when it throws nothing is stored
   * @returns bytes stored
   * @throws CacheError UNAVAILABLE when the store can't be reached, PERMISSION_DENIED, CONFIGURATION when it is not there,
   *   OVERLOADED when it is full.
   */
  put(name: string, content: AsyncIterable<Uint8Array>, options?: BackupCallOptions): Promise<number>
  /**
   * The object's bytes, or a part of them, in pieces of any size; fewer where the object is shorter.
   * @throws CacheError INVALID_ARGUMENT when there is no such object; as `put`.
   */
  get(name: string, options?: BackupRange): AsyncIterable<Uint8Array>
  /** Objects whose names start with `prefix`, in no certain order. */
  list(prefix: string, options?: BackupCallOptions): AsyncIterable<StoredObject>
  /** Removes objects; what is not there is removed already. */
  delete(names: readonly string[], options?: BackupCallOptions): Promise<void>
  close(): Promise<void>
}

/** The whole of a small object. @throws CacheError INVALID_ARGUMENT when it is larger than `maxBytes`; as `get`. */
export async function readWhole(
  store: BackupStore,
  name: string,
  maxBytes: number,
  options?: BackupCallOptions,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of store.get(name, options)) {
    bytes += part.length
    if (bytes > maxBytes)
      throw new CacheError('INVALID_ARGUMENT', `${name} in ${store.where} has over ${maxBytes} bytes`)
    parts.push(part)
  }
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
