import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { FRAME_HEADROOM, sealFrame } from '../../../src/wire/frames.ts'
import { openBench } from '../../support/client-on-loopback.ts'

const CODES =
  /^(PROTOCOL_ERROR|SERIALIZATION|OUTCOME_UNKNOWN|UNAVAILABLE|TIMEOUT|WRONG_CLUSTER|INTERNAL|[A-Z_]+)$/

describe('a node that answers nonsense', () => {
  it('loses the connection; what was pending ends, and the next call works', async () => {
    const { cache, run, failure, cluster, time } = await openBench({}, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    await run(cache.set('k', 1))
    const spoil = (change: (body: Uint8Array) => void): void => {
      node.tamper = (message) => {
        node.tamper = undefined
        change(message.subarray(FRAME_HEADROOM))
        return message
      }
    }
    // Another request's id, a status of no operation, a length past the end.
    const changes: ((body: Uint8Array) => void)[] = [
      (body) => body.fill(0xee, 5, 9),
      (body) => body.fill(2, 9, 10),
      (body) => body.fill(0x7f, 11, 12),
    ]
    for (const change of changes) {
      spoil(change)
      const read = await failure(cache.get('k'))
      expect(read).toMatchObject({ code: 'PROTOCOL_ERROR' })
      await time.advance(100)
      expect(await run(cache.get('k'))).toBe(1)
    }
    spoil((body) => body.fill(0xee, 5, 9))
    expect(await failure(cache.set('k', 2))).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      cause: { code: 'PROTOCOL_ERROR' },
    })
  })

  it('never makes a call hang or the process fail, whatever it sends', async () => {
    const mutation = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), byte: fc.nat(255) })
    const tampering = fc.oneof(
      {
        weight: 4,
        arbitrary: fc
          .array(mutation, { minLength: 1, maxLength: 6 })
          .map((list) => ({ kind: 'mutate' as const, list })),
      },
      {
        weight: 1,
        arbitrary: fc
          .double({ min: 0, max: 1, noNaN: true })
          .map((share) => ({ kind: 'cut' as const, share })),
      },
      {
        weight: 1,
        arbitrary: fc
          .uint8Array({ minLength: 1, maxLength: 200 })
          .map((bytes) => ({ kind: 'replace' as const, bytes })),
      },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(tampering, { minLength: 1, maxLength: 4 }), async (plan) => {
        const { cache, cluster, time } = await openBench({ compression: false }, { nodes: 1, partitions: 4 })
        const [node] = cluster.nodes
        if (node === undefined) throw new Error('no node')
        let step = 0
        node.tamper = (message) => {
          const how = plan[step++]
          if (how === undefined) return message
          const body = message.slice(FRAME_HEADROOM)
          let spoiled: Uint8Array
          if (how.kind === 'cut') spoiled = body.slice(0, Math.max(1, Math.floor(body.length * how.share)))
          else if (how.kind === 'replace') spoiled = how.bytes
          else {
            for (const { at, byte } of how.list) body[Math.floor(at * (body.length - 1))] = byte
            spoiled = body
          }
          const framed = new Uint8Array(FRAME_HEADROOM + spoiled.length)
          framed.set(spoiled, FRAME_HEADROOM)
          sealFrame(framed)
          return framed
        }
        const calls: Promise<unknown>[] = []
        for (let round = 0; round < 3; round++) {
          calls.push(
            cache.set(`k${round}`, { a: [round, 'text'] }),
            cache.get('k0'),
            cache.getEntry('k1'),
            cache.increment('n'),
          )
          calls.push(
            cache.mget(['k0', 'k1', 'zz']),
            cache.set('l', Buffer.alloc(100_000, round)),
            cache.get('l'),
            cache.keys(),
          )
          calls.push(
            cache.atomic().check('k0', 'present').set('k0', 1).execute(),
            cache.clear(),
            cache.stats(),
          )
          for (const call of calls) call.catch(() => {})
          await time.advance(50)
        }
        const settled = Promise.allSettled(calls)
        let done = false
        void settled.then(() => {
          done = true
        })
        await time.advance(20_000)
        expect(done).toBe(true)
        for (const result of await settled) {
          if (result.status === 'fulfilled') continue
          expect(result.reason).toBeInstanceOf(CacheError)
          expect((result.reason as CacheError).code).toMatch(CODES)
        }
        await cache.close()
        await time.advance(10)
        expect(time.pending).toBe(0)
      }),
      { numRuns: 60 },
    )
  })
})
