/** Packing where there is no thread for it. */

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { ThreadedCompression, threadedCompression } from '../../../../src/adapters/lz4/lz4-compression.ts'
import { immediateCompression } from '../../../../src/snapshot/compression.ts'

const text = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => 65 + (((i >> 5) * seed) % 26))

it('packs as the calling thread would, many at a time, also what is larger than usual', async () => {
  const raws = Array.from({ length: 40 }, (_, i) => text(i % 10 === 0 ? 700_000 + i : 1000 * (i + 1), i + 1))
  const packed = await Promise.all(raws.map((raw) => threadedCompression.pack(raw)))
  for (const [i, raw] of raws.entries()) {
    const there = await immediateCompression.pack(raw)
    expect(Buffer.compare(packed[i]?.bytes ?? new Uint8Array(0), there?.bytes ?? new Uint8Array(1))).toBe(0)
    expect(Buffer.compare(await threadedCompression.unpack(packed[i]?.bytes as Uint8Array), raw)).toBe(0)
  }
  for (const one of packed) one?.release()
})

it('leaves what would not shrink', async () => {
  expect(await threadedCompression.pack(randomBytes(100_000))).toBeUndefined()
})

it('packs all the same when its thread fails', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-pack-'))
  try {
    const program = join(folder, 'program.mjs')
    writeFileSync(program, 'throw new Error("not here")')
    const failing = new ThreadedCompression(pathToFileURL(program))
    for (let i = 0; i < 2; i++) {
      const raw = text(5000, 3 + i)
      const packed = await failing.pack(raw)
      expect(Buffer.compare(await failing.unpack(packed?.bytes as Uint8Array), raw)).toBe(0)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
