/**
 * Sees to it that a version says what its entry is: whatever nodes ever hold of one key under one version, as primary, backup or learner,
 * has one value and one expiry. Digests are made of versions, and learners keep what they hold by them; so this is what both rest on.
 */

import type { Engine, EntryIndex } from '../../src/engine/engine.ts'
import { ByteWriter } from '../../src/kernel/bytes.ts'

const HASHES = 2 ** 32
/** Of a large value only its length is compared. */
const VALUE_BYTES_MAX = 64 * 1024

export class VersionWitness {
  readonly #seen = new Map<string, { readonly content: string; readonly who: string }>()
  readonly #key: ByteWriter = new ByteWriter(256)
  readonly #value: ByteWriter = new ByteWriter(1024)

  /** @returns what contradicts what was seen before */
  look(who: string, engine: Engine, partition: number): string[] {
    const contradictions: string[] = []
    for (const [name, content] of contentOf(engine, partition, this.#key, this.#value)) {
      const version = `${partition}/${name}`
      const known = this.#seen.get(version)
      if (known === undefined) this.#seen.set(version, { content, who })
      else if (known.content !== content)
        contradictions.push(`${who} holds ${content} as ${version}, ${known.who} held ${known.content}`)
    }
    return contradictions
  }
}

/** What a partition holds: by region, key and version, what is stored and when it expires. */
export function contentOf(
  engine: Engine,
  partition: number,
  key: ByteWriter = new ByteWriter(256),
  value: ByteWriter = new ByteWriter(1024),
): Map<string, string> {
  const content = new Map<string, string>()
  const entries: EntryIndex[] = []
  for (let hash = 0; hash < HASHES; ) hash = engine.collectFrom(partition, hash, entries)
  for (const e of entries) {
    key.clear()
    engine.copyKey(e, key)
    value.clear()
    if (engine.valueBytes(e) <= VALUE_BYTES_MAX) engine.copyValue(e, value)
    const version = `${engine.versionEpoch(e)}.${engine.versionSequence(e)}`
    const bytes = Buffer.from(value.bytes.buffer, value.bytes.byteOffset, value.length).toString('latin1')
    content.set(
      `${engine.regionId(e)}/${Buffer.from(key.toBytes()).toString()}@${version}`,
      `${engine.valueBytes(e)}:${bytes} until ${engine.expiresAtMs(e)}`,
    )
  }
  return content
}
