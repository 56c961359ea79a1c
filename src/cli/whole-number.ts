/** Arguments that count something. */

import { InvalidArgumentError } from 'commander'

/** At least 1. */
export function wholeNumber(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || !Number.isSafeInteger(number))
    throw new InvalidArgumentError('use a whole number of at least 1')
  return number
}
