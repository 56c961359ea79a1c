/**
 * Time, as a port. Nothing outside adapters reads the machine's clock: the whole cluster has to run on
 * virtual time.
 */

export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes back, unaffected by clock adjustments. May be fractional. */
  monotonicMs(): number
  /** Milliseconds since the Unix epoch. May jump either way when the machine's clock is adjusted. */
  wallMs(): number
}
