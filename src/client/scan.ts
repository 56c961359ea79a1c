/**
 * Walking the keys of a region. Partitions are walked one after the other, a few requests ahead; a page holds whole buckets,
 * so a cursor is (partition, bucket) and any replica can continue from it.
 *
 * A key that is there from the beginning to the end is returned exactly once by a walk without interruption. Going on from a
 * cursor repeats the keys of the page in which it was taken.
 */

import { CacheError } from '../kernel/errors.ts'
import { KEY_BYTES_MAX } from '../kernel/key.ts'
import type { GroupRecord } from '../topology/topology.ts'
import type { CallOptions } from './options.ts'
import { SCAN_BUCKETS, type ScanPage } from './partition-calls.ts'
import type { RegionHandle } from './target.ts'

/** Pages asked for at one time. */
const AHEAD = 8
const BATCH_DEFAULT = 500
/** A key is taken to be so long, in bytes, when a batch size becomes a page size. */
const KEY_BYTES_GUESS = 32
const CURSOR = /^1:([^:]+):(\d{1,6}):(\d{1,2})$/

/** Asks for one page. */
export type FetchPage = (
  partition: number,
  bucket: number,
  pattern: Uint8Array,
  bytesMax: number,
) => Promise<ScanPage>

interface Request {
  readonly partition: number
  readonly page: Promise<ScanPage>
}

/** Iterate it once, with `for await`. */
export class Scan implements AsyncIterable<string> {
  readonly #region: RegionHandle
  readonly #group: () => GroupRecord
  readonly #fetch: FetchPage
  readonly #pattern: Uint8Array
  readonly #bytesMax: number
  /** Where the page in hand begins, from the group's first partition on. */
  #partition = 0
  #bucket = 0

  /** @throws CacheError INVALID_ARGUMENT when the pattern or an option makes no sense. */
  constructor(
    region: RegionHandle,
    group: () => GroupRecord,
    fetch: FetchPage,
    pattern: string,
    options: CallOptions & { readonly batchSize?: number; readonly cursor?: string },
  ) {
    this.#region = region
    this.#group = group
    this.#fetch = fetch
    this.#pattern = encodePattern(region.prefix, pattern)
    const batchSize = options.batchSize ?? BATCH_DEFAULT
    if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > 10_000) {
      throw new CacheError('INVALID_ARGUMENT', `batchSize is ${batchSize}; give an integer from 1 to 10000`)
    }
    this.#bytesMax = batchSize * KEY_BYTES_GUESS
    if (options.cursor !== undefined) this.#setCursor(options.cursor)
  }

  /** Where a later scan can go on: pass it as `cursor`. */
  get cursor(): string {
    return `1:${encodeURIComponent(this.#region.name)}:${this.#partition}:${this.#bucket}`
  }

  async *[Symbol.asyncIterator](): AsyncIterator<string> {
    const group = this.#group()
    if (this.#partition > group.partitionCount) throw wrongCursor()
    const requests: Request[] = []
    let next = this.#partition
    let bucket = this.#bucket
    for (;;) {
      while (requests.length < AHEAD && next < group.partitionCount) {
        requests.push(this.#ask(group, next++, bucket))
        bucket = 0
      }
      const request = requests.shift()
      if (request === undefined) return
      const page = await request.page
      for (const stored of page.keys) yield stored.slice(this.#region.prefix.length)
      if (page.nextBucket < SCAN_BUCKETS) {
        this.#bucket = page.nextBucket
        requests.unshift(this.#ask(group, request.partition, page.nextBucket))
      } else {
        this.#partition = request.partition + 1
        this.#bucket = 0
      }
    }
  }

  #ask(group: GroupRecord, partition: number, bucket: number): Request {
    const page = this.#fetch(group.firstPartition + partition, bucket, this.#pattern, this.#bytesMax)
    // A page that nobody comes to read must not count as an unhandled rejection.
    page.catch(() => {})
    return { partition, page }
  }

  #setCursor(cursor: string): void {
    const match = CURSOR.exec(cursor)
    const bucket = Number(match?.[3])
    if (match === null || match[1] !== encodeURIComponent(this.#region.name) || bucket >= SCAN_BUCKETS) {
      throw wrongCursor()
    }
    this.#partition = Number(match[2])
    this.#bucket = bucket
  }
}

/** The pattern that stored keys have to match: the prefix taken literally, then the caller's. */
function encodePattern(prefix: string, pattern: string): Uint8Array {
  if (typeof pattern !== 'string' || pattern === '') {
    throw new CacheError('INVALID_ARGUMENT', "a pattern must be a text such as 'user:*'")
  }
  const full = prefix.replace(/[*?[\]\\]/g, '\\$&') + pattern
  const bytes = Buffer.from(full, 'utf8')
  if (bytes.length > KEY_BYTES_MAX) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `the pattern takes more than ${KEY_BYTES_MAX} bytes, prefix included`,
    )
  }
  return bytes
}

function wrongCursor(): CacheError {
  return new CacheError('INVALID_ARGUMENT', 'cursor is not one that a scan of this region returned')
}
