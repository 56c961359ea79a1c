/**
 * One probe round after the other (SWIM): ping a member; without an ack within the timeout ask others to ping it; without one
 * until the interval is over, it has failed. Members are probed in turn, in an order shuffled anew each time round, so that
 * each is probed within 2n − 1 rounds.
 *
 * Asked helpers that are well answer with a nack in time. Where their nacks stay out too, the fault may be here: each missing
 * one raises awareness (Lifeguard).
 */

import { integerBetween, type Random } from '../kernel/random.ts'
import type { Awareness } from './awareness.ts'
import type { Member } from './member-table.ts'
import type { MembershipOptions } from './options.ts'

export interface ProberPorts {
  /** Members that can be probed now. */
  candidates(): Member[]
  /** @returns false when there is no stream to it. */
  ping(target: Member, sequence: number): boolean
  /** Asks others. @returns who was asked. */
  ask(target: Member, sequence: number): readonly string[]
  failed(target: Member): void
}

type Round =
  | { readonly step: 'idle'; readonly nextMs: number }
  | {
      readonly step: 'direct' | 'indirect'
      readonly target: Member
      readonly sequence: number
      readonly startedMs: number
      readonly pinged: boolean
      readonly helpers: ReadonlySet<string>
      readonly nacks: Set<string>
    }

export class Prober {
  readonly #options: MembershipOptions
  readonly #awareness: Awareness
  readonly #random: Random
  readonly #ports: ProberPorts
  readonly #sequence: () => number
  #round: Round
  #turn: Member[] = []

  constructor(
    options: MembershipOptions,
    awareness: Awareness,
    random: Random,
    sequence: () => number,
    ports: ProberPorts,
    nowMs: number,
  ) {
    this.#options = options
    this.#awareness = awareness
    this.#random = random
    this.#sequence = sequence
    this.#ports = ports
    this.#round = { step: 'idle', nextMs: nowMs + options.probeIntervalMs }
  }

  get dueMs(): number {
    const round = this.#round
    if (round.step === 'idle') return round.nextMs
    return round.step === 'direct'
      ? round.startedMs + this.#options.probeTimeoutMs
      : this.#endMs(round.startedMs)
  }

  get isProbing(): boolean {
    return this.#round.step !== 'idle'
  }

  tick(nowMs: number): void {
    // At most: a round ends, the next begins, its target has no stream.
    for (let steps = 0; steps < 3 && nowMs >= this.dueMs; steps++) {
      const round = this.#round
      if (round.step === 'idle') this.#begin(nowMs)
      else if (!isProbed(round.target)) this.#round = { step: 'idle', nextMs: nowMs }
      else if (round.step === 'direct') {
        if (!round.pinged) this.#ports.ping(round.target, round.sequence)
        const helpers = new Set(this.#ports.ask(round.target, round.sequence))
        this.#round = { ...round, step: 'indirect', helpers }
      } else {
        this.#round = { step: 'idle', nextMs: nowMs }
        this.#awareness.change(round.helpers.size > 0 ? round.helpers.size - round.nacks.size : 1)
        this.#ports.failed(round.target)
      }
    }
  }

  /** @param from the target itself, or a helper that passes its ack on. @returns whether the round has succeeded. */
  ack(sequence: number, from: string, nowMs: number): boolean {
    const round = this.#round
    if (round.step === 'idle' || round.sequence !== sequence) return false
    if (from !== round.target.nodeId && !round.helpers.has(from)) return false
    this.#awareness.change(-1)
    this.#round = { step: 'idle', nextMs: Math.max(nowMs, this.#endMs(round.startedMs)) }
    return true
  }

  nack(sequence: number, from: string): void {
    const round = this.#round
    if (round.step !== 'idle' && round.sequence === sequence && round.helpers.has(from)) round.nacks.add(from)
  }

  /** This process could not listen: the round says nothing. */
  void(nowMs: number): void {
    this.#round = { step: 'idle', nextMs: nowMs + this.#options.probeIntervalMs }
  }

  #begin(nowMs: number): void {
    const target = this.#next()
    if (target === undefined) {
      this.#round = { step: 'idle', nextMs: nowMs + this.#options.probeIntervalMs }
      return
    }
    const sequence = this.#sequence()
    // Without a stream the ping cannot leave; the timeout is still waited for, because one may be on its way.
    const pinged = this.#ports.ping(target, sequence)
    this.#round = {
      step: 'direct',
      target,
      sequence,
      startedMs: nowMs,
      pinged,
      helpers: new Set(),
      nacks: new Set(),
    }
  }

  #next(): Member | undefined {
    for (let refills = 0; refills < 2; refills++) {
      for (let target = this.#turn.pop(); target !== undefined; target = this.#turn.pop())
        if (isProbed(target)) return target
      this.#turn = shuffled(this.#ports.candidates().filter(isProbed), this.#random)
    }
    return undefined
  }

  #endMs(startedMs: number): number {
    return startedMs + this.#awareness.stretch(this.#options.probeIntervalMs)
  }
}

function isProbed({ state }: Member): boolean {
  return state.status === 'alive' || state.status === 'suspect'
}

/** The same array in random order (Fisher and Yates). */
export function shuffled<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = integerBetween(random, 0, i)
    ;[items[i], items[j]] = [items[j] as T, items[i] as T]
  }
  return items
}
