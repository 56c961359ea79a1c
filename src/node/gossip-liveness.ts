/** Who is alive, as gossip says (gossip.ts), in the words of the control plane. */

import type { MemberView } from '../membership/events.ts'
import type { Liveness, LivenessVerdict } from './liveness.ts'

export class GossipLiveness implements Liveness {
  /** By process; as many as gossip remembers and the topology names, and no more. */
  readonly #members = new Map<string, MemberView>()

  /** A verdict changed. */
  changed(member: MemberView): void {
    this.#members.set(`${member.nodeId}/${member.incarnation}`, member)
  }

  /** Forgets processes that nobody asks about any more. */
  keep(isNamed: (nodeId: string, incarnation: string) => boolean): void {
    for (const [key, { nodeId, incarnation, verdict }] of this.#members) {
      if (verdict !== 'alive' && !isNamed(nodeId, incarnation)) this.#members.delete(key)
    }
  }

  /** A process that gossip has not heard of yet is given the benefit of the doubt: it is watched from now on. */
  verdict(nodeId: string, incarnation: string): LivenessVerdict {
    return this.#members.get(`${nodeId}/${incarnation}`)?.verdict ?? 'alive'
  }

  isProvenDead(nodeId: string, incarnation: string): boolean {
    return this.#members.get(`${nodeId}/${incarnation}`)?.proven ?? false
  }
}
