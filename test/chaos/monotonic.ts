/** The one clock of a run: CLOCK_MONOTONIC, the same in every process of this machine. */

export function nowNs(): number {
  return Number(process.hrtime.bigint())
}

export function nowMs(): number {
  return nowNs() / 1e6
}
