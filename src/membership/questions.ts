/**
 * Questions this node has asked and whose answers it still waits for: pings, for its own rounds and for others that asked it
 * to ping. Bounded; the oldest give way.
 */

interface Asked {
  readonly nodeId: string
  readonly incarnation: string
  readonly askedMs: number
  /** Who asked this node to ping, and under which sequence. */
  readonly onBehalf: { readonly nodeId: string; readonly sequence: number } | undefined
}

const QUESTIONS_MAX = 1024

export class Questions {
  readonly #asked = new Map<number, Asked>()
  #sequence = 0

  next(): number {
    this.#sequence = (this.#sequence + 1) >>> 0
    return this.#sequence
  }

  add(sequence: number, asked: Asked): void {
    if (this.#asked.size >= QUESTIONS_MAX) {
      const oldest = this.#asked.keys().next().value
      if (oldest !== undefined) this.#asked.delete(oldest)
    }
    this.#asked.set(sequence, asked)
  }

  /** @returns the question this answers, if it was asked of this process and is not answered yet. */
  answered(sequence: number, nodeId: string, incarnation: string): Asked | undefined {
    const asked = this.#asked.get(sequence)
    if (asked === undefined || asked.nodeId !== nodeId || asked.incarnation !== incarnation) return undefined
    this.#asked.delete(sequence)
    return asked
  }

  /** When the oldest question on behalf of others is to be answered with a nack; Infinity without one. */
  nackDueMs(patienceMs: number): number {
    for (const asked of this.#asked.values())
      if (asked.onBehalf !== undefined) return asked.askedMs + patienceMs
    return Number.POSITIVE_INFINITY
  }

  /** Takes out what has waited longer than `patienceMs` on behalf of others, and what is older than `forgetMs`. */
  overdue(nowMs: number, patienceMs: number, forgetMs: number): { nodeId: string; sequence: number }[] {
    const nacks: { nodeId: string; sequence: number }[] = []
    for (const [sequence, { askedMs, onBehalf }] of this.#asked) {
      if (onBehalf !== undefined && nowMs >= askedMs + patienceMs) nacks.push(onBehalf)
      else if (nowMs < askedMs + forgetMs) continue
      this.#asked.delete(sequence)
    }
    return nacks
  }
}
