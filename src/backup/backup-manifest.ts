/**
 * What a backup says about itself, in JSON objects of its place:
 *
 * ```
 * <name>/begun.json          what the run set out to do; written first
 * <name>/parts/<part>.data   records of the partitions that one node wrote (part-stream.ts)
 * <name>/parts/<part>.json   what the part holds, and where; written once its object is there
 * <name>/manifest.json       written last; without it there is no backup
 * ```
 * Each JSON object begins with a line that holds its CRC-32, so that no bit of it can be wrong unnoticed.
 *
 * **Formats.** A node reads the formats from FORMAT_MIN to FORMAT and writes FORMAT. What older readers would misread raises FORMAT
 * (the form of entries and records included); fields that can be left out do not. FORMAT_MIN follows two minor releases later at the
 * earliest.
 */

import { crc32 } from 'node:zlib'
import { CacheError } from '../kernel/errors.ts'
import { type BackupCallOptions, type BackupStore, readWhole } from '../snapshot/backup-store.ts'
import type { PartitionSummary } from '../snapshot/manifest.ts'
import type { RegionRecord } from '../topology/topology.ts'

export const FORMAT = 1
const FORMAT_MIN = 1
/** A partition takes about 2 KiB in a part's description. */
const JSON_BYTES_MAX = 256 * 1024 * 1024

/** Partitions that one node wrote, in one object. */
export interface BackupPart {
  readonly name: string
  /** Of its object. */
  readonly bytes: number
  /** Of its description. */
  readonly crc: number
  /** Those that count; of the others, another part is used. */
  readonly partitions: readonly number[]
}

export interface BackupManifest {
  readonly format: number
  readonly name: string
  readonly clusterId: string
  readonly clusterName: string
  /** Of the topology, as the run began and as it ended. */
  readonly epochs: readonly [number, number]
  readonly partitions: number
  readonly startedMs: number
  readonly finishedMs: number
  /** Whose parts it consists of. */
  readonly nodes: readonly string[]
  readonly regions: readonly RegionRecord[]
  readonly parts: readonly BackupPart[]
  readonly entries: number
  /** Of entries, before they were packed. */
  readonly rawBytes: number
  /** Of the parts that are used. */
  readonly storedBytes: number
}

/** What a run set out to do, so that another can go on with it. */
export interface BackupBeginning {
  readonly format: number
  readonly name: string
  readonly clusterId: string
  readonly clusterName: string
  readonly startedMs: number
  readonly epoch: number
  /** By partition, as the run began: a part written in an older epoch may lack writes that were acknowledged by then. */
  readonly partitionEpochs: readonly number[]
}

/** What a part holds. */
export interface PartRecord {
  readonly format: number
  readonly name: string
  readonly clusterId: string
  readonly node: string
  readonly startedMs: number
  readonly finishedMs: number
  /** Of its object. */
  readonly bytes: number
  readonly partitions: readonly PartPartition[]
}

export interface PartPartition {
  readonly summary: PartitionSummary
  /** Where its records begin, where those of its terms do, where its summary does, and where that ends. */
  readonly offsets: readonly [number, number, number, number]
}

export const MANIFEST = 'manifest.json'
const BEGINNING = 'begun.json'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** @throws CacheError INVALID_ARGUMENT */
export function checkBackupName(name: string): void {
  if (NAME.test(name)) return
  throw new CacheError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(name.slice(0, 80))} can't be the name of a backup: use 1 to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit`,
  )
}

export function manifestName(backup: string): string {
  return `${backup}/${MANIFEST}`
}

export function beginningName(backup: string): string {
  return `${backup}/${BEGINNING}`
}

export function partsPrefix(backup: string): string {
  return `${backup}/parts/`
}

export function partRecordName(backup: string, part: string): string {
  return `${partsPrefix(backup)}${part}.json`
}

export function partDataName(backup: string, part: string): string {
  return `${partsPrefix(backup)}${part}.data`
}

type Described = BackupManifest | BackupBeginning | PartRecord

/** @returns the CRC-32 of its JSON */
export async function writeDescribed(
  store: BackupStore,
  object: string,
  value: Described,
  options?: BackupCallOptions,
): Promise<number> {
  const body = Buffer.from(JSON.stringify(value))
  const crc = crc32(body)
  await store.put(object, pieces(Buffer.from(`${crcText(crc)}\n`), body), options)
  return crc
}

export interface ReadDescription<T> {
  readonly value: T
  readonly crc: number
}

/** @throws CacheError INVALID_ARGUMENT when there is no such object, DATA_LOSS, VERSION_MISMATCH, and as the store does */
async function readDescribed<T extends Described>(
  store: BackupStore,
  object: string,
  options?: BackupCallOptions,
): Promise<ReadDescription<T>> {
  const bytes = Buffer.from(await readWhole(store, object, JSON_BYTES_MAX, options))
  const crc = crc32(bytes.subarray(CRC_LINE_BYTES))
  if (bytes.length <= CRC_LINE_BYTES || bytes.toString('latin1', 0, CRC_LINE_BYTES) !== `${crcText(crc)}\n`)
    throw damagedObject(store, object, 'its checksum is wrong')
  const value = JSON.parse(bytes.toString('utf8', CRC_LINE_BYTES)) as T
  if (value.format > FORMAT || value.format < FORMAT_MIN) {
    const advice = value.format > FORMAT ? 'use a newer release of ringcache' : 'use an older release'
    throw new CacheError(
      'VERSION_MISMATCH',
      `${object} in ${store.where} has format ${value.format}, this release reads ${FORMAT_MIN} to ${FORMAT}: ${advice}`,
    )
  }
  return { value, crc }
}

/** As `readDescribed`; undefined when there is no such object. */
export async function findDescribed<T extends Described>(
  store: BackupStore,
  object: string,
  options?: BackupCallOptions,
): Promise<ReadDescription<T> | undefined> {
  try {
    return await readDescribed<T>(store, object, options)
  } catch (error) {
    if (error instanceof CacheError && error.code === 'INVALID_ARGUMENT') return undefined
    throw error
  }
}

export function damagedObject(store: BackupStore, object: string, why: string): CacheError {
  return new CacheError(
    'DATA_LOSS',
    `${object} in ${store.where} is damaged: ${why}. Use another backup, or leave out what is damaged (--skip-damaged)`,
  )
}

const CRC_LINE_BYTES = 9

function crcText(crc: number): string {
  return crc.toString(16).padStart(CRC_LINE_BYTES - 1, '0')
}

async function* pieces(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts
}
