/**
 * The processes this node has heard of, itself not among them. A restart is another entry: (nodeId, incarnation) names one.
 *
 * Those that ended are kept, so that old news does not bring them back. The table is bounded; where it is full, those that
 * ended longest ago give way, then those given up, and when all are well no more are taken in.
 */

import type { MembershipIdentity } from './events.ts'
import { isFinal, joinStates, type MemberState, sameState } from './member-state.ts'
import type { Suspicion } from './suspicion.ts'

/** A refused connection that somebody reported. */
export interface Refusal {
  readonly counter: number
  readonly heardMs: number
}

export interface Member {
  readonly nodeId: string
  readonly incarnation: string
  readonly knownSinceMs: number
  address: string
  state: MemberState
  changedMs: number
  /** There while the status is `suspect`. */
  suspicion: Suspicion | undefined
  /** By who reported it. */
  readonly refusals: Map<string, Refusal>
  /** This node's stream to it broke off or ended; a refused connection now says something. */
  lostStream: boolean
  /** Its death is proven but for this node's own stream to it, which still stands. */
  proofHeld: boolean
  /** What its last ack said of its event loop. */
  loopLagMs: number
}

export class MemberTable {
  readonly #membersMax: number
  readonly #members = new Map<string, Member>()

  constructor(membersMax: number) {
    this.#membersMax = membersMax
  }

  get(nodeId: string, incarnation: string): Member | undefined {
    return this.#members.get(`${nodeId}/${incarnation}`)
  }

  all(): Iterable<Member> {
    return this.#members.values()
  }

  /** Every incarnation of the node that is known. */
  ofNode(nodeId: string): Member[] {
    return [...this.all()].filter((member) => member.nodeId === nodeId)
  }

  /** Members neither given up nor gone. */
  get aliveCount(): number {
    let count = 0
    for (const { state } of this.all()) if (state.status === 'alive' || state.status === 'suspect') count++
    return count
  }

  /** Takes a process in. @returns undefined when the table is full of members that are well. */
  add(
    { nodeId, incarnation, address }: MembershipIdentity,
    state: MemberState,
    nowMs: number,
  ): Member | undefined {
    if (this.#members.size >= this.#membersMax && !this.#makeRoom()) return undefined
    const member: Member = {
      nodeId,
      incarnation,
      knownSinceMs: nowMs,
      address,
      state,
      changedMs: nowMs,
      suspicion: undefined,
      refusals: new Map(),
      lostStream: false,
      proofHeld: false,
      loopLagMs: 0,
    }
    this.#members.set(`${nodeId}/${incarnation}`, member)
    return member
  }

  /** Joins an opinion into a member's state. @returns whether that changed it. */
  join(member: Member, opinion: MemberState, nowMs: number): boolean {
    const joined = joinStates(member.state, opinion)
    if (sameState(joined, member.state)) return false
    member.state = joined
    member.changedMs = nowMs
    if (joined.status !== 'suspect') member.suspicion = undefined
    if (joined.proven) {
      member.refusals.clear()
      member.proofHeld = false
    } else {
      // A counter that rose says that the process lives on: it contradicts reports made before.
      for (const [by, refusal] of member.refusals)
        if (refusal.counter < joined.counter) member.refusals.delete(by)
    }
    return true
  }

  #makeRoom(): boolean {
    let victim: [string, Member] | undefined
    for (const [key, member] of this.#members) {
      if (member.state.status !== 'dead' && member.state.status !== 'left') continue
      if (victim === undefined || givesWayBefore(member, victim[1])) victim = [key, member]
    }
    return victim !== undefined && this.#members.delete(victim[0])
  }
}

function givesWayBefore(a: Member, b: Member): boolean {
  const aFinal = isFinal(a.state)
  return aFinal === isFinal(b.state) ? a.changedMs < b.changedMs : aFinal
}
