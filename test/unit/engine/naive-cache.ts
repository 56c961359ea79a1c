/**
 * The engine's behaviour, as plainly as it can be said: a Map of objects, an ordered Map per region, and a scan for
 * everything else. The property test holds the engine against it.
 */

export interface NaiveEntry {
  readonly id: string
  readonly partition: number
  readonly regionId: number
  readonly key: Buffer
  readonly hash: number
  /** The engine's number for it. */
  number: number
  value: Buffer
  codec: number
  epoch: number
  sequence: number
  createdAtMs: number
  expiresAtMs: number
  staleAtMs: number
  tags: Buffer
  tagCount: number
  /** Whether the engine owes to hand it over when it is due. */
  scheduled: boolean
}

export interface NaiveRegion {
  readonly touchMoves: boolean
  budgetBytes: number
  budgetEntries: number
  bytes: number
  /** In eviction order, the next victim first. */
  order: Map<string, NaiveEntry>
}

export class NaiveCache {
  readonly entries: Map<string, NaiveEntry> = new Map()
  readonly regions: Map<number, NaiveRegion> = new Map()
  readonly #byPartition: Map<number, Set<NaiveEntry>> = new Map()
  /** Partition to whether it is primary. */
  readonly partitions: Map<number, boolean> = new Map()

  region(id: number): NaiveRegion {
    return this.regions.get(id) as NaiveRegion
  }

  ofPartition(partition: number): NaiveEntry[] {
    return [...(this.#byPartition.get(partition) ?? [])]
  }

  put(entry: NaiveEntry): void {
    const old = this.entries.get(entry.id)
    if (old !== undefined) this.remove(old)
    this.entries.set(entry.id, entry)
    const neighbours = this.#byPartition.get(entry.partition) ?? new Set()
    this.#byPartition.set(entry.partition, neighbours.add(entry))
    if (this.partitions.get(entry.partition)) this.#link(entry)
  }

  remove(entry: NaiveEntry): void {
    if (this.partitions.get(entry.partition)) this.#unlink(entry)
    this.entries.delete(entry.id)
    this.#byPartition.get(entry.partition)?.delete(entry)
  }

  touch(entry: NaiveEntry): void {
    const region = this.region(entry.regionId)
    if (!region.touchMoves || !this.partitions.get(entry.partition)) return
    region.order.delete(entry.id)
    region.order.set(entry.id, entry)
  }

  setExpiry(entry: NaiveEntry, expiresAtMs: number): void {
    entry.expiresAtMs = expiresAtMs
    entry.scheduled = expiresAtMs !== 0 && this.partitions.get(entry.partition) === true
  }

  setPrimary(partition: number, primary: boolean): void {
    if (this.partitions.get(partition) === primary) return
    const entries = this.ofPartition(partition)
    entries.sort((a, b) => a.epoch - b.epoch || a.sequence - b.sequence || a.hash - b.hash)
    for (const entry of entries) primary ? this.#link(entry) : this.#unlink(entry)
    this.partitions.set(partition, primary)
  }

  due(nowMs: number): NaiveEntry[] {
    return [...this.entries.values()].filter((entry) => entry.scheduled && entry.expiresAtMs <= nowMs)
  }

  victim(regionId: number): NaiveEntry | undefined {
    return this.region(regionId).order.values().next().value
  }

  overBudget(regionId: number): boolean {
    const { budgetBytes, budgetEntries, bytes, order } = this.region(regionId)
    return (budgetBytes > 0 && bytes > budgetBytes) || (budgetEntries > 0 && order.size > budgetEntries)
  }

  #link(entry: NaiveEntry): void {
    const region = this.region(entry.regionId)
    region.order.set(entry.id, entry)
    region.bytes += costOf(entry)
    entry.scheduled = entry.expiresAtMs !== 0
  }

  #unlink(entry: NaiveEntry): void {
    const region = this.region(entry.regionId)
    region.order.delete(entry.id)
    region.bytes -= costOf(entry)
    entry.scheduled = false
  }
}

/** What an entry counts for in a budget, from the documented layout. */
export function costOf(entry: NaiveEntry): number {
  return recordBytesOf(entry) + 24 + heldBytesOf(entry.value.length)
}

export function recordBytesOf(entry: NaiveEntry): number {
  const inline = entry.value.length > 65_536 ? 4 : entry.value.length
  const body = entry.key.length + entry.tags.length + inline
  return 32 + (entry.staleAtMs === 0 ? 0 : 8) + Math.ceil(body / 4) * 4
}

/** Whole blocks of 64 KiB, the rest in blocks of 8 KiB. */
function heldBytesOf(valueBytes: number): number {
  if (valueBytes <= 65_536) return 0
  const full = Math.floor(valueBytes / 65_536)
  return full * 65_536 + Math.ceil((valueBytes - full * 65_536) / 8192) * 8192
}
