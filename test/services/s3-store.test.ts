/** Backups in a bucket of a real server over HTTP, and through one that fails. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { S3Store, type S3StoreOptions } from '../../src/adapters/backup/s3-store.ts'
import { backupStoreContract, pieces, whole } from '../contract/backup-store.contract.ts'
import {
  BUCKET,
  FaultyS3,
  S3_KEY,
  S3_SECRET,
  type S3Fault,
  S3Server,
  s3ServerInstalled,
} from '../support/s3-server.ts'

const MIB = 1024 * 1024
const CREDENTIALS = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_EC2_METADATA_DISABLED'] as const

describe.skipIf(!s3ServerInstalled)('a bucket of S3', () => {
  let server: S3Server
  let prefixes = 0
  const closings: (() => Promise<void>)[] = []
  const before = CREDENTIALS.map((name) => process.env[name])

  const credentials = (key: string | undefined, secret: string | undefined): void => {
    const values = [key, secret, 'true']
    CREDENTIALS.forEach((name, i) => {
      const value = values[i]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    })
  }
  const open = async (options: Partial<S3StoreOptions> = {}): Promise<S3Store> => {
    const store = await S3Store.open({
      bucket: BUCKET,
      prefix: `run-${prefixes++}`,
      endpoint: server.endpoint,
      ...options,
    })
    closings.push(() => store.close())
    return store
  }
  /** A store whose requests go through the faults. */
  const openFaulty = async (
    faultOf: (method: string, number: number, path: string) => S3Fault,
    options: Partial<S3StoreOptions> = {},
  ): Promise<{ store: S3Store; proxy: FaultyS3 }> => {
    let armed = false
    const proxy = new FaultyS3(server.endpoint, (method, number, path) =>
      armed ? faultOf(method, number, path) : 'none',
    )
    const endpoint = await proxy.listen()
    closings.push(() => proxy.close())
    const store = await open({ endpoint, ...options })
    armed = true
    proxy.requests = 0
    return { store, proxy }
  }

  beforeAll(async () => {
    server = await S3Server.start()
    credentials(S3_KEY, S3_SECRET)
  })
  afterEach(async () => {
    credentials(S3_KEY, S3_SECRET)
    for (const close of closings.splice(0).reverse()) await close()
  })
  afterAll(async () => {
    await server?.stop()
    CREDENTIALS.forEach((name, i) => {
      const value = before[i]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    })
  })

  backupStoreContract(() => open())

  it('lists many objects page by page, and removes them at once', async () => {
    const store = await open({ pageSize: 40 })
    const names = Array.from({ length: 100 }, (_, i) => `many-${String(i).padStart(3, '0')}`)
    await Promise.all(names.map((name) => store.put(name, pieces(1))))
    const list = async (): Promise<string[]> => {
      const found: string[] = []
      for await (const { name } of store.list('many-')) found.push(name)
      return found.sort()
    }
    expect(await list()).toEqual(names)
    await store.delete(names)
    expect(await list()).toEqual([])
  })

  it('keeps prefixes apart', async () => {
    const [a, b] = [await open({ prefix: 'a' }), await open({ prefix: 'a/b/' })]
    await a.put('x', pieces(1))
    await b.put('x', pieces(2))
    const found: string[] = []
    for await (const { name } of a.list('')) found.push(name)
    expect(found.sort()).toEqual(['b/x', 'x'])
  })

  it.each(['error-500', 'slow-down-503', 'cut'] as const)(
    'gets over some requests that end in %s',
    async (fault) => {
      const { store, proxy } = await openFaulty((_method, number) => (number % 3 === 1 ? fault : 'none'))
      const bytes = 17 * MIB
      await store.put('x', pieces(bytes, 3))
      const [kept, given] = await Promise.all([whole(store.get('x')), whole(pieces(bytes, 3))])
      expect(kept.equals(given)).toBe(true)
      expect(proxy.requests).toBeGreaterThan(6)
    },
  )

  it('goes on with a reading that breaks off', async () => {
    let cuts = 0
    const { store } = await openFaulty((method) => (method === 'GET' && cuts++ < 4 ? 'cut-answer' : 'none'))
    const bytes = 4 * MIB
    await store.put('x', pieces(bytes, 5))
    cuts = 0
    const [kept, given] = await Promise.all([whole(store.get('x')), whole(pieces(bytes, 5))])
    expect(cuts).toBe(5)
    expect(kept.equals(given)).toBe(true)
  })

  it.each(['error-500', 'cut'] as const)('gives up on a server that only answers %s', async (fault) => {
    const { store, proxy } = await openFaulty(() => fault, { attempts: 3 })
    await expect(store.put('x', pieces(1))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('after 3 tries'),
    })
    expect(proxy.requests).toBe(3)
    await expect(whole(store.get('x'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('gives up on a server that says nothing', async () => {
    const { store } = await openFaulty(() => 'hang', { attempts: 2, silenceTimeoutMs: 300 })
    await expect(store.put('x', pieces(1))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('gives up on a server that is not there', async () => {
    const gone = await S3Server.start()
    await gone.stop()
    await expect(open({ endpoint: gone.endpoint, attempts: 2 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
  })

  it('says that the bucket is not there', async () => {
    await expect(open({ bucket: 'elsewhere' })).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('there is no bucket elsewhere'),
    })
  })

  it('says that the credentials are wrong', async () => {
    // This server has a code of its own for a user it does not know.
    credentials('SOMEBODY', S3_SECRET)
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('No user exists'),
    })
    credentials(S3_KEY, 'wrong')
    await expect(open()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  it('says that there are no credentials', async () => {
    credentials(undefined, undefined)
    const home = process.env['HOME']
    process.env['HOME'] = '/nowhere'
    try {
      await expect(open()).rejects.toMatchObject({
        code: 'CONFIGURATION',
        message: expect.stringContaining('AWS_ACCESS_KEY_ID'),
      })
    } finally {
      process.env['HOME'] = home
    }
  })
})
