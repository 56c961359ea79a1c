/** The control plane as administrators and the rebalance driver see it (cluster-control.ts). */

import { CacheError } from '../kernel/errors.ts'
import type { Incarnation, NodeId } from '../kernel/ids.ts'
import type { MemberView as GossipMember } from '../membership/events.ts'
import type { NodeIndex, Topology } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'
import type { ClusterControl, MemberView } from './cluster-control.ts'
import type { ControlPlane } from './control-plane.ts'
import { heirOf } from './driver-duties.ts'

export class ControlDesk implements ClusterControl {
  readonly #control: ControlPlane
  readonly #members: () => readonly GossipMember[]

  constructor(control: ControlPlane, members: () => readonly GossipMember[]) {
    this.#control = control
    this.#members = members
  }

  topology(): Topology | undefined {
    return this.#control.topology
  }

  async propose(transforms: readonly Transform[]): Promise<void> {
    if (this.#control.topology === undefined)
      throw new CacheError('NOT_READY', 'the cluster is still starting: try again')
    if (this.#control.driver === undefined)
      throw new CacheError('UNAVAILABLE', 'no node that votes can be reached: look at `ringcache status`')
    const ends = await Promise.all(transforms.map((transform) => this.#control.submit(transform)))
    if (ends.some((end) => end.kind === 'expired'))
      throw new CacheError(
        'OUTCOME_UNKNOWN',
        'no majority of the nodes that vote answered in time: the change may still be made',
      )
  }

  heirOf(topology: Topology, partition: number, primaries: readonly number[]): NodeIndex | undefined {
    return heirOf(topology, partition, primaries, this.#control.memories)
  }

  members(): readonly MemberView[] {
    return this.#members().map((member) => ({
      nodeId: member.nodeId as NodeId,
      incarnation: member.incarnation as Incarnation,
      address: member.address,
      liveness: member.verdict,
      proven: member.proven,
      sinceMs: member.sinceMs,
    }))
  }
}
