/**
 * What the voters decide for an epoch: a list of changes, and the fingerprint of the record they make of the one before, so that every
 * node can tell that it came to the same.
 *
 * ```
 * value := format:u8(1) hash:text changes
 * ```
 */

import { ByteReader, ByteWriter } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { BrokenRules } from '../../kernel/rule-switch.ts'
import { applyAll, applyTransform, isRefused } from '../apply-transform.ts'
import { encodeTopology } from '../codec.ts'
import type { Topology } from '../topology.ts'
import { encodeTransforms, readTransforms, TRANSFORMS_MAX, writeTransforms } from '../transform-codec.ts'
import type { Transform } from '../transforms.ts'
import { recordHash } from './record-hash.ts'

export interface DecidedValue {
  /** Of the record that the changes lead to. */
  readonly hash: string
  readonly changes: readonly Transform[]
}

export interface Draft {
  /** Undefined when no change applies: there is nothing to decide. */
  readonly value: Uint8Array | undefined
  /** Changes that do not apply to this topology. */
  readonly refused: readonly Transform[]
}

const FORMAT = 1

/**
 * A value for the epoch after `topology`, of those changes that apply.
 * @param encode the record as nodes hold it
 */
export function draftValue(
  topology: Topology,
  changes: readonly Transform[],
  broken?: BrokenRules,
  encode: (record: Topology) => Uint8Array = (record) => encodeTopology(record, 'node'),
): Draft {
  const list = changes.slice(0, TRANSFORMS_MAX)
  const applied = applyAll(topology, list, broken)
  const good: Transform[] = []
  const refused: Transform[] = []
  list.forEach((change, i) => {
    if (applied.refused[i] === undefined) good.push(change)
    else if (isRefusedAlone(topology, change, broken)) refused.push(change)
  })
  if (good.length === 0) return { value: undefined, refused: list }
  const w = new ByteWriter(1024)
  w.uint8(FORMAT)
  w.text(recordHash(encode(applied.topology)))
  writeTransforms(w, good)
  return { value: w.toBytes(), refused }
}

/** A change that only another of the same commit stands in the way of is to be tried again after it. */
function isRefusedAlone(topology: Topology, change: Transform, broken: BrokenRules | undefined): boolean {
  return isRefused(applyTransform(topology, change, broken))
}

/** @throws CacheError PROTOCOL_ERROR when it is malformed. */
export function decodeValue(bytes: Uint8Array): DecidedValue {
  const r = new ByteReader(bytes)
  if (r.uint8() !== FORMAT) throw new CacheError('PROTOCOL_ERROR', 'a decided value of another release')
  const hash = r.text(64)
  const changes = readTransforms(r)
  if (r.remaining !== 0) throw new CacheError('PROTOCOL_ERROR', 'bytes behind the end of a decided value')
  return { hash, changes }
}

export function applyValue(topology: Topology, value: DecidedValue, broken?: BrokenRules): Topology {
  return applyAll(topology, value.changes, broken).topology
}

/** Equal for equal changes. */
export function changeKey(change: Transform): string {
  return Buffer.from(encodeTransforms([change])).toString('latin1')
}

/** Why the change would do nothing now; undefined when it would. */
export function refusal(topology: Topology, change: Transform, broken?: BrokenRules): string | undefined {
  const outcome = applyTransform(topology, change, broken)
  return isRefused(outcome) ? outcome.refused : undefined
}
