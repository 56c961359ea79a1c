/**
 * The identities that travel between layers. They are branded so that one can't be passed for another;
 * at run time they are plain strings and numbers.
 */

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** A node's configured name, unique in its cluster. */
export type NodeId = Brand<string, 'NodeId'>
/** 64 random bits as 16 hex digits, drawn at each process start: a restart is another incarnation. */
export type Incarnation = Brand<string, 'Incarnation'>
/** 128 random bits as 32 hex digits, drawn once per cluster at bootstrap. */
export type ClusterId = Brand<string, 'ClusterId'>
/** Number of a region, assigned in the topology record and never reused. */
export type RegionId = Brand<number, 'RegionId'>
/** Counts committed topologies; the first is 1. */
export type Epoch = Brand<number, 'Epoch'>
/** Counts the changes of one partition's primary or in-sync set; the first is 1. */
export type PartitionEpoch = Brand<number, 'PartitionEpoch'>

/** When and where a value was ordered. Versions of a key strictly rise and are never used twice. */
export interface Version {
  readonly partitionEpoch: number
  readonly sequence: number
}

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. */
export function compareVersions(a: Version, b: Version): number {
  return a.partitionEpoch - b.partitionEpoch || a.sequence - b.sequence
}
