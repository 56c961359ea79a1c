/** What LevelDB and the file system report, in words that say what to do. */

import { CacheError, type ErrorCode } from '../../kernel/errors.ts'

export interface Place {
  /** As the user calls it, such as "data directory". */
  readonly what: string
  readonly folder: string
  /** The option that names it. */
  readonly option: string
  readonly ifDamaged: string
}

/** Why a database can't be opened, and what to do about it. */
export function openError(error: unknown, { what, folder, option, ifDamaged }: Place): CacheError {
  const codes = codesOf(error)
  const invalid = (message: string): CacheError => new CacheError('CONFIGURATION', message, { cause: error })
  if (codes.includes('LEVEL_LOCKED'))
    return invalid(
      `the ${what} ${folder} is used by another process: stop that node, or give this one a directory of its own (${option})`,
    )
  if (codes.some((code) => ['EACCES', 'EPERM', 'EROFS'].includes(code)))
    return invalid(
      `the ${what} ${folder} can't be written: give its user the right to, or name another (${option})`,
    )
  if (codes.some((code) => ['ENOTDIR', 'EEXIST'].includes(code)))
    return invalid(`the ${what} ${folder} is no folder: name another (${option})`)
  if (codes.includes('ENOSPC')) return invalid(`the disk of the ${what} ${folder} is full: free some space`)
  if (codes.includes('LEVEL_CORRUPTION')) return invalid(`the ${what} ${folder} is damaged: ${ifDamaged}`)
  return invalid(`the ${what} ${folder} can't be opened: ${reasonOf(error)}`)
}

/**
 * Why an operation on an open database failed.
 * @param doing what was attempted, and where
 * @param ifDamaged what to do when its files are damaged
 */
export function diskError(code: ErrorCode, error: unknown, doing: string, ifDamaged?: string): CacheError {
  const codes = codesOf(error)
  const full = codes.includes('ENOSPC') || /no space left/i.test(reasonOf(error))
  // The second: a file of records that is too short, or is not there.
  const isDamaged =
    codes.includes('LEVEL_CORRUPTION') || /\.ldb: (?:invalid argument|no such file)/i.test(reasonOf(error))
  const isAdvised = ifDamaged !== undefined && isDamaged
  const said = isAdvised ? `${reasonOf(error)}. If it stays so, ${ifDamaged}` : reasonOf(error)
  const advice = full ? 'the disk is full, free some space' : said
  return new CacheError(code, `${doing} failed: ${advice}`, { cause: error })
}

/** Of the error and of what caused it. */
export function codesOf(error: unknown): string[] {
  const codes: string[] = []
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    if (code !== undefined) codes.push(code)
    if (/corruption|checksum|bad record|CURRENT/i.test(at.message) && code !== 'LEVEL_LOCKED')
      codes.push('LEVEL_CORRUPTION')
    if (/permission denied|read-only/i.test(at.message)) codes.push('EACCES')
    if (/no space left/i.test(at.message)) codes.push('ENOSPC')
  }
  return codes
}

/** The innermost reason: what LevelDB itself said. */
function reasonOf(error: unknown): string {
  let text = String(error)
  for (let at = error; at instanceof Error; at = at.cause) text = at.message
  return text
}
