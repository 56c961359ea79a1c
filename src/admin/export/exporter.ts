/**
 * Writes the live entries of regions as lines. Keys come from a scan, values from reads of the primaries, a few at a time:
 *
 * - A key that is there from the beginning to the end is written exactly once, also while partitions move; what is written, deleted
 *   or expires meanwhile may or may not be in it. It is no snapshot of one moment.
 * - The next reads begin when the lines of those before are written, so a slow disk or pipe slows the export. How many reads run at
 *   one time depends on what the last ones brought: about READ_BYTES_WANTED, so 16 MiB values come one or two at a time.
 */

import type { Cache } from '../../client/cache.ts'
import type { RawValue } from '../../client/codecs/raw-value.ts'
import type { Entry } from '../../client/entry.ts'
import type { RegionMessage } from '../../wire/admin.ts'
import { EntryLines, endLine, headLine } from './entry-line.ts'
import { checkAborted, Pace, type TimePorts } from './pace.ts'

const WIDTH_FIRST = 4
const WIDTH_MAX = 128
const READ_BYTES_WANTED = 16 * 1024 * 1024
/** Lines are handed on in pieces of about so many characters. */
const PIECE_CHARS = 64 * 1024

export interface ExportOptions {
  readonly cluster: string
  readonly regions: readonly RegionMessage[]
  /** Only keys that begin with it. */
  readonly prefix: string
  /** Entries a second; undefined: as fast as it goes. */
  readonly perSecond: number | undefined
  /** Also version and time of creation of each entry, which an import does not bring back. */
  readonly withMeta: boolean
  readonly signal: AbortSignal
}

/** Counts while it runs, too. */
export interface ExportCounts {
  entries: number
  /** Of text. */
  bytes: number
  /** Keys found whose entry was gone when it was read. */
  gone: number
  region: string
}

/** Takes text on its way out; resolves when more may come. */
export type WriteText = (text: string) => Promise<void>

export class Exporter {
  readonly counts: ExportCounts = { entries: 0, bytes: 0, gone: 0, region: '' }
  readonly #client: Cache<RawValue>
  readonly #ports: TimePorts
  readonly #options: ExportOptions
  readonly #writeText: WriteText
  readonly #pace: Pace
  readonly #lines = new EntryLines()
  #width = WIDTH_FIRST
  #piece = ''

  constructor(client: Cache<RawValue>, ports: TimePorts, options: ExportOptions, write: WriteText) {
    this.#client = client
    this.#ports = ports
    this.#options = options
    this.#writeText = write
    this.#pace = new Pace(ports, options.perSecond, options.signal)
  }

  /** @throws CacheError ABORTED when the signal fires, or what a read or `write` failed with */
  async run(): Promise<void> {
    const { cluster, regions } = this.#options
    await this.#write(headLine(cluster, this.#ports.clock.wallMs(), regions))
    for (const { name } of regions) await this.#exportRegion(name)
    await this.#write(endLine(this.counts.entries))
    await this.#flush()
  }

  async #exportRegion(region: string): Promise<void> {
    this.counts.region = region
    const { prefix, signal } = this.#options
    const cache = this.#client.region<RawValue>(region)
    const pattern = `${prefix.replace(/[*?[\]\\]/g, '\\$&')}*`
    let keys: string[] = []
    for await (const key of cache.scan(pattern, { signal })) {
      keys.push(key)
      if (keys.length < this.#pace.widthMax(this.#width)) continue
      await this.#exportKeys(cache, region, keys)
      keys = []
    }
    await this.#exportKeys(cache, region, keys)
  }

  async #exportKeys(cache: Cache<RawValue>, region: string, keys: readonly string[]): Promise<void> {
    const { signal, withMeta } = this.#options
    await this.#pace.admit(keys.length)
    const entries: (Entry<RawValue> | undefined)[] = await Promise.all(
      keys.map((key) => cache.getEntry(key, { signal })),
    )
    let bytes = 0
    for (const [i, entry] of entries.entries()) {
      checkAborted(signal)
      if (entry === undefined) {
        this.counts.gone++
        continue
      }
      bytes += entry.value.bytes.length
      // Not needed any more when it is written: the largest of them should not wait for the others.
      entries[i] = undefined
      await this.#write(this.#lines.write(region, keys[i] as string, entry, withMeta))
      this.counts.entries++
    }
    if (bytes > READ_BYTES_WANTED) this.#width = Math.max(1, this.#width >> 1)
    else if (bytes < READ_BYTES_WANTED / 2) this.#width = Math.min(WIDTH_MAX, 2 * this.#width)
  }

  async #write(line: string): Promise<void> {
    this.#piece += line
    if (this.#piece.length >= PIECE_CHARS) await this.#flush()
  }

  async #flush(): Promise<void> {
    const piece = this.#piece
    this.#piece = ''
    this.counts.bytes += Buffer.byteLength(piece)
    if (piece !== '') await this.#writeText(piece)
  }
}
