/**
 * Where backups lie, as operators write it: an absolute path, or `s3://bucket/prefix`, with `?endpoint=…&region=…` where they are needed.
 * Credentials are no part of it.
 */

import { CacheError } from '../kernel/errors.ts'

export type Place =
  | { readonly kind: 'directory'; readonly path: string }
  | {
      readonly kind: 's3'
      readonly bucket: string
      readonly prefix: string
      /** Undefined: as the environment says. */
      readonly region: string | undefined
      /** Undefined: Amazon's. */
      readonly endpoint: string | undefined
    }

const TEXT_MAX = 2048
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,62}$/

/** @throws CacheError INVALID_ARGUMENT */
export function parsePlace(text: string): Place {
  if (text.length > TEXT_MAX || text.includes('\0')) throw invalid(text)
  if (text.startsWith('/')) return { kind: 'directory', path: text }
  if (!text.startsWith('s3://')) throw invalid(text)
  const [address = '', query = ''] = text.slice('s3://'.length).split('?', 2)
  const slash = address.indexOf('/')
  const bucket = slash < 0 ? address : address.slice(0, slash)
  const prefix = slash < 0 ? '' : address.slice(slash + 1)
  const options = new URLSearchParams(query)
  for (const name of options.keys()) if (name !== 'endpoint' && name !== 'region') throw invalid(text)
  const endpoint = options.get('endpoint') ?? undefined
  // A password in an address would end up in logs.
  if (!BUCKET.test(bucket) || (endpoint !== undefined && !/^https?:\/\/[^@/]+\/?$/.test(endpoint)))
    throw invalid(text)
  return { kind: 's3', bucket, prefix, region: options.get('region') ?? undefined, endpoint }
}

function invalid(text: string): CacheError {
  return new CacheError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(text.slice(0, 100))} is no place for backups: name a folder by its full path, or a bucket as s3://bucket/prefix, with ?endpoint=http://host:port and &region=… where they are needed`,
  )
}
