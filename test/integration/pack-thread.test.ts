/** Packing on a thread of its own, by the program that is shipped. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { ThreadedCompression } from '../../src/adapters/lz4/lz4-compression.ts'
import { PackThread } from '../../src/adapters/lz4/pack-thread.ts'
import { immediateCompression } from '../../src/snapshot/compression.ts'

const PROGRAM = new URL('../../dist/adapters/lz4/pack-worker.js', import.meta.url)
const thread = new PackThread(PROGRAM)

afterAll(() => thread.end())

const text = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => 65 + (((i >> 5) * seed) % 26))

it('packs as the calling thread would, many at a time, also what is larger than usual', async () => {
  const raws = Array.from({ length: 40 }, (_, i) => text(i % 10 === 0 ? 700_000 + i : 1000 * (i + 1), i + 1))
  const packed = await Promise.all(raws.map((raw) => thread.pack(raw)))
  for (const [i, raw] of raws.entries()) {
    const there = await immediateCompression.pack(raw)
    expect(Buffer.compare(packed[i]?.bytes ?? new Uint8Array(0), there?.bytes ?? new Uint8Array(1))).toBe(0)
  }
  for (const one of packed) one?.release()
})

it('uses memory again only once it was released', async () => {
  const first = await thread.pack(text(5000, 3))
  const second = await thread.pack(text(5000, 5))
  expect(second?.bytes.buffer).not.toBe(first?.bytes.buffer)
  const copy = Buffer.from(first?.bytes ?? [])
  first?.release()
  const third = await thread.pack(text(5000, 7))
  expect(third?.bytes.buffer).toBe(first?.bytes.buffer)
  expect(Buffer.compare(third?.bytes ?? copy, copy)).not.toBe(0)
})

it('tells those who wait when it ends, and takes nothing more', async () => {
  const other = new PackThread(PROGRAM)
  const packing = other.pack(text(400_000, 3))
  const heard = expect(packing).rejects.toThrow('ended')
  await other.end()
  await heard
  expect(other.pack(text(5000, 3))).toBeUndefined()
})

it('is started again after it ended, but not at once', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ringcache-pack-'))
  const program = path.join(folder, 'worker.mjs')
  let nowMs = 0
  const packing = new ThreadedCompression(pathToFileURL(program), () => nowMs)
  const isShared = async (): Promise<boolean> => {
    const packed = await packing.pack(text(5000, 3))
    const bytes = packed?.bytes ?? new Uint8Array(0)
    expect(await packing.unpack(bytes)).toEqual(Buffer.from(text(5000, 3)))
    return bytes.buffer instanceof SharedArrayBuffer
  }
  writeFileSync(
    program,
    "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => process.exit(1))",
  )
  expect(await isShared()).toBe(false)
  writeFileSync(program, `import '${PROGRAM.href}'`)
  nowMs = 9_999
  expect(await isShared()).toBe(false)
  nowMs = 10_000
  expect(await isShared()).toBe(true)
  await packing.end()
  rmSync(folder, { recursive: true })
})

it('starts in a program that came as a string', () => {
  const module = new URL('../../dist/adapters/lz4/lz4-compression.js', import.meta.url).href
  const program = `
    const { threadedCompression } = await import('${module}')
    const packed = await threadedCompression.pack(new Uint8Array(5000))
    console.log(packed.bytes.buffer instanceof SharedArrayBuffer)
  `
  const said = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  expect(said.trim()).toBe('true')
})
