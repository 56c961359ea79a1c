import { CacheError } from '../kernel/errors.ts'

/**
 * Throws when one of the engine's own rules, or of its callers' duties, does not hold: a bug, never an input. `what` is
 * a constant in hot paths, for it is evaluated each time.
 */
export function invariant(holds: boolean, what: string): asserts holds {
  if (!holds) throw broken(what)
}

export function broken(what: string): CacheError {
  return new CacheError('INTERNAL', `storage engine: ${what}`)
}
