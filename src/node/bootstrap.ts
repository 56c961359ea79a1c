/**
 * How a cluster is founded: the nodes of the bootstrap list meet, and one of them draws the first topology.
 *
 * The node with the lowest id proposes, once it has met all others and none of them knows a topology; each accepts a proposal that
 * names its own process; when all have, the topology is committed, kept on the founder's disk and told to the others. A node that
 * meets one that knows a topology founds nothing: it joins (control-plane.ts).
 *
 * Invariant: a proposal is committed only while every node that accepted it is still the process that did.
 *
 * A state machine without clock or network: the caller performs what it returns.
 */

import type { ClusterId, Epoch, Incarnation, NodeId, RegionId } from '../kernel/ids.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import { firstPartitions, firstRing } from '../topology/placement.ts'
import type { GroupRecord, NodeRecord, RegionRecord, Topology, VoterRecord } from '../topology/topology.ts'
import { votersWanted } from '../topology/voters.ts'
import type { NodeOptions } from './options.ts'

/** What the caller is to do: ask the others, or take up what all have accepted. */
export type BootstrapEffect =
  | { readonly kind: 'propose'; readonly topology: Topology }
  | { readonly kind: 'found'; readonly topology: Topology }

/** A process of a node in the list, as it introduced itself. */
export interface Founder {
  readonly incarnation: string
  readonly diskId: string
}

interface Met extends Founder {
  accepted: boolean
}

export class Bootstrap {
  readonly #options: NodeOptions
  readonly #self: Founder
  readonly #random: Random
  readonly #met = new Map<string, Met>()
  #proposal: Topology | undefined
  #done = false

  constructor(options: NodeOptions, self: Founder, random: Random) {
    this.#options = options
    this.#self = self
    this.#random = random
  }

  /** Call once at the start: a cluster of one begins at once. */
  start(): BootstrapEffect | undefined {
    return this.#consider()
  }

  /** A stream to another node of the list is up, and that node knows no topology. */
  met(nodeId: string, founder: Founder): BootstrapEffect | undefined {
    if (this.#done || !this.#options.nodes.some((node) => node.nodeId === nodeId)) return undefined
    const known = this.#met.get(nodeId)
    if (known?.incarnation !== founder.incarnation) this.#proposal = undefined
    this.#met.set(nodeId, { ...founder, accepted: false })
    return this.#consider()
  }

  /** The stream to it is gone: what it accepted counts no more. */
  lost(nodeId: string): void {
    if (this.#met.delete(nodeId)) this.#proposal = undefined
  }

  /** Another node proposes. @returns whether it is accepted. */
  proposed(topology: Topology): boolean {
    if (this.#done) return false
    return (
      topology.clusterName === this.#options.clusterName &&
      topology.nodes.some(
        (node) => node.nodeId === this.#options.nodeId && node.incarnation === this.#self.incarnation,
      )
    )
  }

  accepted(nodeId: string, clusterId: string): BootstrapEffect | undefined {
    const proposal = this.#proposal
    const met = this.#met.get(nodeId)
    if (this.#done || proposal === undefined || met === undefined || proposal.clusterId !== clusterId)
      return undefined
    met.accepted = true
    for (const one of this.#met.values()) if (!one.accepted) return undefined
    return this.#found(proposal)
  }

  /** A topology is known: there is nothing to found any more. */
  stop(): void {
    this.#done = true
    this.#proposal = undefined
  }

  get done(): boolean {
    return this.#done
  }

  /** Nodes of the list that have not been met, for status and error messages. */
  missing(): string[] {
    const { nodes, nodeId } = this.#options
    return nodes.map((node) => node.nodeId).filter((id) => id !== nodeId && !this.#met.has(id))
  }

  #consider(): BootstrapEffect | undefined {
    const { nodes, nodeId } = this.#options
    if (this.#done || this.#proposal !== undefined || this.missing().length > 0) return undefined
    // Whoever joins a cluster that runs founds none.
    if (!nodes.some((node) => node.nodeId === nodeId)) return undefined
    if (nodes.some((node) => node.nodeId < nodeId)) return undefined
    const topology = this.#draw()
    if (nodes.length === 1) return this.#found(topology)
    this.#proposal = topology
    // What was said to an earlier proposal is no answer to this one.
    for (const one of this.#met.values()) one.accepted = false
    return { kind: 'propose', topology }
  }

  #found(topology: Topology): BootstrapEffect {
    this.stop()
    return { kind: 'found', topology }
  }

  #draw(): Topology {
    const options = this.#options
    const group: GroupRecord = {
      name: 'default',
      replicationFactor: options.replicationFactor,
      firstPartition: 0,
      partitionCount: options.partitionCount,
    }
    const nodes = options.nodes.map((node): NodeRecord => {
      const founder = node.nodeId === options.nodeId ? this.#self : this.#met.get(node.nodeId)
      return {
        nodeId: node.nodeId as NodeId,
        incarnation: (founder?.incarnation ?? '') as Incarnation,
        diskId: founder?.diskId ?? '',
        address: node.address,
        zone: node.zone,
        weight: node.weight ?? 1,
        state: 'active',
      }
    })
    const ring = firstRing(
      nodes.map(({ nodeId, weight, zone }) => ({ nodeId, weight, zone })),
      [group],
    )
    return {
      clusterId: randomHex(this.#random, 32) as ClusterId,
      clusterName: options.clusterName,
      epoch: 1 as Epoch,
      hashKey: { low: this.#random.uint32(), high: this.#random.uint32() },
      nodes,
      voters: firstVoters(nodes),
      ring,
      groups: [group],
      regions: options.regions.map(
        (region, i): RegionRecord => ({ ...region, regionId: i as RegionId, group: group.name }),
      ),
      nextRegionId: options.regions.length,
      // The ring stands on these nodes in this order.
      partitions: firstPartitions(ring.placement),
    }
  }
}

function firstVoters(nodes: readonly NodeRecord[]): VoterRecord[] {
  return votersWanted(nodes).map(({ nodeId, diskId, address }) => ({ nodeId, diskId, address }))
}
