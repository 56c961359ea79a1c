import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OperationIds } from '../../../src/client/operation-ids.ts'

describe('operation ids', () => {
  it('keep the watermark at the oldest unfinished write, in whatever order writes finish', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(99), { maxLength: 400 }), (choices) => {
        const ids = new OperationIds('0123456789abcdef')
        const open = new Set<number>()
        for (const choice of choices) {
          if (choice < 60 || open.size === 0) {
            open.add(ids.next())
          } else {
            const counter = [...open][choice % open.size] as number
            ids.finish(counter)
            ids.finish(counter)
            open.delete(counter)
          }
          if (open.size > 0) expect(ids.firstIncomplete).toBe(Math.min(...open))
        }
        for (const counter of open) ids.finish(counter)
        expect(ids.firstIncomplete).toBe(ids.next())
      }),
    )
  })

  it('grow while one write holds the watermark, up to a limit', () => {
    const ids = new OperationIds('0123456789abcdef')
    const first = ids.next()
    for (let i = 0; i < 10_000; i++) ids.finish(ids.next())
    expect(ids.firstIncomplete).toBe(first)
    ids.finish(first)
    expect(ids.firstIncomplete).toBe(10_002)
    ids.next()
    expect(() => {
      for (;;) ids.finish(ids.next())
    }).toThrow('one write has been pending')
  })
})
