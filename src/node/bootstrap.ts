/**
 * How a cluster begins: the nodes of the bootstrap list meet, and one of them draws the first topology.
 *
 * The node with the lowest id proposes, once it has met all others and none of them has a topology; each accepts a
 * proposal that names its own incarnation; when all have, the proposer commits and tells them. A node that meets a
 * committed topology takes it up instead, with the role it has in it: none, if it is named there under another
 * incarnation.
 *
 * Invariants: a node takes up at most one topology in its life; a proposal is committed only while every node that
 * accepted it is still the process that did.
 *
 * A state machine without clock or network: the caller performs what it returns.
 */

import { CacheError } from '../kernel/errors.ts'
import type { ClusterId, Epoch, Incarnation, NodeId, RegionId } from '../kernel/ids.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import { placeInTurn } from '../topology/placement.ts'
import {
  type GroupRecord,
  type RegionRecord,
  type RingNode,
  type Topology,
  type VoterRecord,
  wantedVoterCount,
} from '../topology/topology.ts'
import type { BootstrapNode, NodeOptions } from './options.ts'

/** What the caller is to do. */
export type BootstrapEffect =
  | { readonly kind: 'propose'; readonly topology: Topology }
  | { readonly kind: 'adopt'; readonly topology: Topology }

interface Met {
  incarnation: string
  accepted: boolean
}

export class Bootstrap {
  readonly #options: NodeOptions
  readonly #incarnation: string
  readonly #random: Random
  readonly #met = new Map<string, Met>()
  #proposal: Topology | undefined
  #done = false

  constructor(options: NodeOptions, incarnation: string, random: Random) {
    this.#options = options
    this.#incarnation = incarnation
    this.#random = random
  }

  /** Call once at the start: a cluster of one begins at once. */
  start(): BootstrapEffect | undefined {
    return this.#consider()
  }

  /** A stream to another node of the list is up, and that node has no topology. */
  met(nodeId: string, incarnation: string): BootstrapEffect | undefined {
    if (this.#done) return undefined
    const known = this.#met.get(nodeId)
    if (known?.incarnation !== incarnation) this.#proposal = undefined
    this.#met.set(nodeId, { incarnation, accepted: false })
    return this.#consider()
  }

  /** The stream to it is gone: what it accepted counts no more. */
  lost(nodeId: string): void {
    this.#met.delete(nodeId)
    this.#proposal = undefined
  }

  /** Another node proposes. @returns whether it is accepted. */
  proposed(topology: Topology): boolean {
    if (this.#done) return false
    return (
      topology.clusterName === this.#options.clusterName &&
      topology.nodes.some(
        (node) => node.nodeId === this.#options.nodeId && node.incarnation === this.#incarnation,
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
    return this.committed(proposal)
  }

  /**
   * A committed topology was met or decided. @returns what to do, unless one was taken up before.
   * @throws CacheError WRONG_CLUSTER, PROTOCOL_ERROR when this node can't serve under it; it goes on waiting for another
   */
  committed(topology: Topology): BootstrapEffect | undefined {
    if (this.#done) return undefined
    const { clusterName } = this.#options
    if (topology.clusterName !== clusterName) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `a topology of cluster ${topology.clusterName}, not ${clusterName}`,
      )
    }
    if (topology.hashKey === undefined) {
      throw new CacheError('PROTOCOL_ERROR', 'a topology without the hash key, as clients get it')
    }
    this.#done = true
    this.#proposal = undefined
    return { kind: 'adopt', topology }
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
    if (this.#proposal !== undefined || this.missing().length > 0) return undefined
    if (nodes.some((node) => node.nodeId < nodeId)) return undefined
    const topology = this.#draw()
    if (nodes.length === 1) return this.committed(topology)
    this.#proposal = topology
    // What was said to an earlier proposal is no answer to this one.
    for (const one of this.#met.values()) one.accepted = false
    return { kind: 'propose', topology }
  }

  #draw(): Topology {
    const options = this.#options
    const group: GroupRecord = {
      name: 'default',
      replicationFactor: options.replicationFactor,
      firstPartition: 0,
      partitionCount: options.partitionCount,
    }
    const ring = options.nodes.map((node): RingNode => {
      return { nodeId: node.nodeId as NodeId, weight: 1, zone: node.zone }
    })
    return {
      clusterId: randomHex(this.#random, 32) as ClusterId,
      clusterName: options.clusterName,
      epoch: 1 as Epoch,
      hashKey: { low: this.#random.uint32(), high: this.#random.uint32() },
      nodes: options.nodes.map((node) => ({
        nodeId: node.nodeId as NodeId,
        incarnation: (node.nodeId === options.nodeId
          ? this.#incarnation
          : (this.#met.get(node.nodeId)?.incarnation ?? '')) as Incarnation,
        diskId: '',
        address: node.address,
        zone: node.zone,
        weight: 1,
        state: 'active',
      })),
      voters: firstVoters(options.nodes),
      ring: { nodes: ring, previous: ring, paused: false },
      groups: [group],
      regions: options.regions.map(
        (region, i): RegionRecord => ({ ...region, regionId: i as RegionId, group: group.name }),
      ),
      nextRegionId: options.regions.length,
      partitions: placeInTurn(
        group,
        options.nodes.map((node) => node.zone),
      ),
    }
  }
}

/** The nodes with the lowest names: as many as there are up to three, five from five nodes on. */
function firstVoters(nodes: readonly BootstrapNode[]): VoterRecord[] {
  return [...nodes]
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    .slice(0, wantedVoterCount(nodes.length))
    .map((node) => ({ nodeId: node.nodeId as NodeId, diskId: '', address: node.address }))
}
