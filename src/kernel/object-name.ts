/**
 * Names of objects in places that keep whole objects, such as the folders and buckets of backups: parts joined by `/`; a part has
 * letters, digits, `.`, `_`, `=` and `-`, and does not begin with a dot. So a name is a safe path and needs no escaping.
 */

import { CacheError } from './errors.ts'

const PART = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]*$/
const NAME_BYTES_MAX = 512

/** @throws CacheError INVALID_ARGUMENT */
export function checkObjectName(name: string): void {
  if (name.length <= NAME_BYTES_MAX && name.split('/').every((part) => PART.test(part))) return
  throw new CacheError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(name.slice(0, 80))} can't be the name of an object in a backup: use letters, digits and . _ = - in parts joined by /, ${NAME_BYTES_MAX} bytes at most`,
  )
}
