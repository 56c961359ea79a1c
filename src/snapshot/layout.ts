/**
 * Keys of a snapshot store. They ascend in the order in which they are written, so that an LSM tree never has to merge them:
 *
 * ```
 * <id>/p00012/00000034   a record of a partition
 * <id>/p00012/~          the partition's own record, behind its others
 * <id>/~                 the manifest, behind everything
 * ```
 */

/** Ids begin with the time, in digits, so that they sort by it. */
const ID = /^\d{8}T\d{9}-[0-9a-f]{8}$/
/** '0' follows '/'. */
const BEHIND_SLASH = '0'

export interface KeyRange {
  readonly from: string
  readonly to: string
}

export const EVERYTHING: KeyRange = { from: '', to: '~' }

export function isSnapshotId(text: string): boolean {
  return ID.test(text)
}

/** @param suffix eight hexadecimal digits */
export function snapshotId(wallMs: number, suffix: string): string {
  const text = new Date(wallMs).toISOString().replace(/[-:.Z]/g, '')
  return `${text}-${suffix}`
}

/** The time in an id. */
export function timeOfSnapshotId(id: string): number {
  const [year, month, day, hour, minute, second, ms] = [
    id.slice(0, 4),
    id.slice(4, 6),
    id.slice(6, 8),
    id.slice(9, 11),
    id.slice(11, 13),
    id.slice(13, 15),
    id.slice(15, 18),
  ].map(Number) as [number, number, number, number, number, number, number]
  return Date.UTC(year, month - 1, day, hour, minute, second, ms)
}

export function manifestKey(id: string): string {
  return `${id}/~`
}

export function partitionKey(id: string, partition: number): string {
  return `${partitionPrefix(id, partition)}/~`
}

export function recordKey(id: string, partition: number, number: number): string {
  return `${partitionPrefix(id, partition)}/${String(number).padStart(8, '0')}`
}

export function snapshotRange(id: string): KeyRange {
  return { from: `${id}/`, to: `${id}${BEHIND_SLASH}` }
}

export function partitionRange(id: string, partition: number): KeyRange {
  const prefix = partitionPrefix(id, partition)
  return { from: `${prefix}/`, to: `${prefix}${BEHIND_SLASH}` }
}

/** The id that a key belongs to: what stands before the first slash. */
export function idOfKey(key: string): string {
  const slash = key.indexOf('/')
  return slash < 0 ? key : key.slice(0, slash)
}

function partitionPrefix(id: string, partition: number): string {
  return `${id}/p${String(partition).padStart(7, '0')}`
}
