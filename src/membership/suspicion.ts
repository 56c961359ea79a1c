/**
 * How long a suspect has to contradict before it is given up (Lifeguard: Dadgar, Phillips, Currey, DSN-W 2018, §IV-B).
 *
 * One suspicion may be the accuser's own fault, so the time is long at first; each further member that says the same
 * shortens it, the first ones most:
 *
 *     timeout = max − (max − min) · ln(c + 1) / ln(k + 1)
 *     min = multiplier · max(1, log10 n) · probeInterval,  max = 2 · min,  k = multiplier − 2
 *
 * with c confirmations beside the first accusation and n members. Where fewer than k others could confirm (n − 2 < k),
 * nobody is waited for: the time is min.
 */

/** Confirmations, beside the first accusation, that shorten the time to its minimum. */
export function confirmationsExpected(multiplier: number, memberCount: number): number {
  const k = multiplier - 2
  return memberCount - 2 < k ? 0 : k
}

/**
 * @param memberCount members not given up, the suspect and this node included; ≥ 1.
 * @param confirmations accusations by further members, ≥ 0.
 */
export function suspicionTimeoutMs(
  multiplier: number,
  probeIntervalMs: number,
  memberCount: number,
  confirmations: number,
): number {
  const minMs = multiplier * Math.max(1, Math.log10(memberCount)) * probeIntervalMs
  const k = confirmationsExpected(multiplier, memberCount)
  if (k < 1) return minMs
  const maxMs = 2 * minMs
  const share = Math.min(1, Math.log(confirmations + 1) / Math.log(k + 1))
  return maxMs - (maxMs - minMs) * share
}

/** Running suspicion of one member. */
export class Suspicion {
  /** Who accuses. */
  readonly #accusers = new Set<string>()
  #startedMs: number

  constructor(accuser: string, nowMs: number) {
    this.#accusers.add(accuser)
    this.#startedMs = nowMs
  }

  get confirmations(): number {
    return this.#accusers.size - 1
  }

  /** @returns whether this accuser is new and still counts: others are to be told. */
  confirm(accuser: string, expected: number): boolean {
    if (this.confirmations >= expected || this.#accusers.has(accuser)) return false
    this.#accusers.add(accuser)
    return true
  }

  /** This node could hear nothing for so long, no contradiction either. */
  postpone(ms: number): void {
    this.#startedMs += ms
  }

  deadlineMs(multiplier: number, probeIntervalMs: number, memberCount: number): number {
    return this.#startedMs + suspicionTimeoutMs(multiplier, probeIntervalMs, memberCount, this.confirmations)
  }
}
