/** Entries of every kind in several regions, and whether a cluster holds them. */

import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import type { Cache } from '../../../src/client/cache.ts'
import type { CacheClient } from '../../../src/client/cache-client.ts'

/** Of cluster.yaml. */
export const REGIONS: object = {
  sessions: { ttl: '1h', size: '64mb' },
  products: { policy: 'fifo', maxEntries: 500_000 },
}
const LARGE_BYTES = 300_000
const EVERY = 10

interface Known {
  readonly region: string
  readonly key: string
  readonly value: unknown
  readonly tags: readonly string[]
  /** Undefined: it does not expire. */
  readonly expiresAt: number | undefined
}

type Root = Cache<unknown> & { region(name: string): Cache<unknown> | CacheClient<unknown> }

/** Writes `count` entries for each region. */
export async function writeVaried(cache: Root, count: number): Promise<Known[]> {
  const known: Known[] = []
  for (const region of ['default', 'sessions', 'products']) {
    const client = cache.region(region)
    for (let from = 0; from < count; from += 500) {
      await Promise.all(
        Array.from({ length: Math.min(500, count - from) }, async (_, i) => {
          const n = from + i
          const key = `${region}:${n % 3 === 0 ? 'a' : 'b'}:${n}`
          const tags = n % 4 === 0 ? [`tag-${n % 7}`, 'often'] : []
          const ttl = n % 5 === 0 ? 600_000 + n * 1000 : n % 5 === 1 ? ('never' as const) : undefined
          await client.set(key, contentOf(n), { tags, ...(ttl === undefined ? {} : { ttl }) })
          const entry = await client.getEntry(key)
          known.push({ region, key, value: contentOf(n), tags, expiresAt: entry?.expiresAt })
        }),
      )
    }
    for (let n = 0; n < 20; n++) {
      await client.increment(`count:${n}`, 5 + n)
      const expiresAt = (await client.getEntry(`count:${n}`))?.expiresAt
      known.push({ region, key: `count:${n}`, value: 5 + n, tags: [], expiresAt })
    }
    for (let n = 0; n < 4; n++) {
      const value = randomBytes(LARGE_BYTES + n)
      await client.set(`large:${n}`, value)
      const expiresAt = (await client.getEntry(`large:${n}`))?.expiresAt
      known.push({ region, key: `large:${n}`, value, tags: [], expiresAt })
    }
  }
  return known
}

/** Every entry is there, with value, time to live, tags and region. */
export async function expectVaried(cache: Root, known: readonly Known[], withinMs = 3000): Promise<void> {
  for (let from = 0; from < known.length; from += 500) {
    await Promise.all(
      known.slice(from, from + 500).map(async ({ region, key, value, tags, expiresAt }) => {
        const entry = await cache.region(region).getEntry(key)
        const name = `${region}/${key}`
        expect([name, entry?.tags]).toEqual([name, tags])
        if (Buffer.isBuffer(value)) expect(value.equals(entry?.value as Uint8Array)).toBe(true)
        else expect([name, entry?.value]).toEqual([name, value])
        if (expiresAt === undefined) expect([name, entry?.expiresAt]).toEqual([name, undefined])
        else expect(Math.abs((entry?.expiresAt ?? 0) - expiresAt)).toBeLessThan(withinMs)
      }),
    )
  }
}

function contentOf(n: number): unknown {
  const kind = n % EVERY
  if (kind === 0) return `text ${n}`
  if (kind === 1) return { id: n, list: [n, null, 'x'.repeat(n % 50)], when: new Date(1_700_000_000_000 + n) }
  if (kind === 2) return 'packed '.repeat(400)
  if (kind === 3) return n * 1.5
  if (kind === 4) return null
  return { n, filler: 'y'.repeat(n % 900) }
}
