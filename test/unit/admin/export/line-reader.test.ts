import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readLines, type TextLine } from '../../../../src/admin/export/line-reader.ts'

async function linesOf(chunks: readonly Uint8Array[]): Promise<TextLine[]> {
  const lines: TextLine[] = []
  async function* source(): AsyncGenerator<Uint8Array> {
    yield* chunks
  }
  for await (const line of readLines(source())) lines.push(line)
  return lines
}

describe('lines', () => {
  it('are the same however the bytes come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ' '))),
        fc.array(fc.nat(10), { minLength: 1 }),
        async (texts, cuts) => {
          const bytes = Buffer.from(texts.join('\n'))
          const chunks: Uint8Array[] = []
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = 1 + (cuts[i % cuts.length] as number)
            chunks.push(bytes.subarray(at, at + size))
            at += size
          }
          const expected = texts
            .map((text, index) => ({
              number: index + 1,
              text: index === 0 ? text.replace(/^\ufeff/, '') : text,
            }))
            .filter(({ text }) => text.trim() !== '')
          expect((await linesOf(chunks)).map(({ number, text }) => ({ number, text }))).toEqual(expected)
        },
      ),
    )
  })

  it('a byte order mark, empty lines and a missing last newline make no difference', async () => {
    const lines = await linesOf([Buffer.from('\ufeff1\r\n\n  \n2')])
    expect(lines.map(({ number, text }) => [number, text?.trim()])).toEqual([
      [1, '1'],
      [4, '2'],
    ])
  })

  it('what is no text, or too long, is a problem of its own line only', async () => {
    const mib = Buffer.alloc(1024 * 1024, 0x61)
    const long = Array.from({ length: 33 }, () => mib)
    const lines = await linesOf([
      Buffer.from('a\n'),
      Buffer.from([0xff, 0x0a]),
      ...long,
      Buffer.from('\nb\n'),
    ])
    expect(lines.map(({ number, text, problem }) => [number, text, problem])).toEqual([
      [1, 'a', ''],
      [2, undefined, 'it is not UTF-8'],
      [3, undefined, 'it has 34603008 bytes; at most 33554432 are allowed'],
      [4, 'b', ''],
    ])
  })
})
