/**
 * One node of a cluster whose other nodes are the test: it plays both their streams to it and its streams to them, frame by
 * frame.
 */

import type { Incarnation, NodeId, RegionId } from '../../src/kernel/ids.ts'
import { type Log, silentLog } from '../../src/kernel/log.ts'
import { SeededRandom } from '../../src/kernel/random.ts'
import { NodeCore } from '../../src/node/node-core.ts'
import { DEFAULT_REGION, type NodeOptions, SINGLE_NODE } from '../../src/node/options.ts'
import { VirtualTime } from '../../src/testing/virtual-time.ts'
import { encodeTopology } from '../../src/topology/codec.ts'
import type { Topology } from '../../src/topology/topology.ts'
import { encodeControl } from '../../src/wire/control-frames.ts'
import { FRAME_HEADROOM } from '../../src/wire/frames.ts'
import { encodePeerHello } from '../../src/wire/peer-frames.ts'
import type { Lane } from '../../src/wire/transport.ts'
import { DirectStream } from './direct-stream.ts'
import { placeInTurn, placesInTurn } from './place-in-turn.ts'

const NAMES = ['a', 'b', 'c']
const INCARNATION_A = 'aaaaaaaaaaaaaaaa'

export interface Dialed {
  readonly address: string
  readonly lane: string
  readonly stream: DirectStream
}

/** The second of the three nodes a, b and c. */
export class LoneNode {
  readonly time: VirtualTime = new VirtualTime()
  readonly core: NodeCore
  /** Streams it opened, in turn. */
  readonly dialed: Dialed[] = []
  readonly topology: Topology
  /** The topology as nodes get it. */
  readonly encoded: Uint8Array
  readonly #hellos = new Map<string, Uint8Array>()
  #streams = 0

  constructor(options: Partial<NodeOptions> = {}, log: Log = silentLog) {
    const nodes = NAMES.map((nodeId, i) => ({ nodeId, address: `10.0.0.${i + 1}:7401`, zone: '' }))
    this.core = new NodeCore(
      { ...SINGLE_NODE, nodeId: 'b', nodes, partitionCount: 6, replicationFactor: 3, ...options },
      {
        clock: this.time,
        scheduler: this.time,
        random: new SeededRandom(9),
        log,
        uncompress: (stored) => stored,
        dialer: {
          open: (address, { lane }, handler) => {
            const stream = new DirectStream()
            stream.handler = handler
            this.dialed.push({ address, lane: lane ?? 'operations', stream })
            return stream
          },
          close: () => {},
        },
      },
    )
    this.topology = this.#topology()
    this.encoded = encodeTopology(this.topology, 'node')
    this.core.start()
  }

  /** One that has opened its disk: it can be talked to. */
  static async open(options: Partial<NodeOptions> = {}, log: Log = silentLog): Promise<LoneNode> {
    const node = new LoneNode(options, log)
    await node.time.advance(1)
    return node
  }

  /** One that was told the topology. */
  static async serving(options: Partial<NodeOptions> = {}, log: Log = silentLog): Promise<LoneNode> {
    const node = await LoneNode.open(options, log)
    await node.learn(node.encoded)
    return node
  }

  /** Node a tells it a topology. @returns the stream on which it did */
  async learn(topology: Uint8Array): Promise<DirectStream> {
    const stream = this.fromA('control')
    stream.handler?.frame(encodeControl({ kind: 'record', topology }).slice(FRAME_HEADROOM))
    await this.time.advance(1)
    return stream
  }

  /** A stream on which node a says who it is. */
  fromA(lane: Lane = 'operations'): DirectStream {
    const stream = new DirectStream()
    stream.handler = this.core.accept('cluster', stream, 'a')
    stream.handler.frame(this.#helloAgain(lane))
    return stream
  }

  /** The usual greeting, encoded once: streams are opened by the hundred thousand. */
  #helloAgain(lane: Lane): Uint8Array {
    let hello = this.#hellos.get(lane)
    if (hello === undefined) {
      hello = this.helloOfA(lane)
      this.#hellos.set(lane, hello)
    }
    return hello
  }

  helloOfA(lane: Lane, targetIncarnation = ''): Uint8Array {
    return encodePeerHello({
      versionMin: 1,
      versionMax: 1,
      clusterName: 'ringcache',
      clusterId: this.topology.clusterId,
      nodeId: 'a',
      incarnation: INCARNATION_A,
      diskId: '',
      address: '10.0.0.1:7401',
      targetNodeId: 'b',
      targetIncarnation,
      streamNumber: ++this.#streams,
      lane,
    }).slice(FRAME_HEADROOM)
  }

  #topology(): Topology {
    const { options, incarnation } = this.core
    const group = {
      name: 'default',
      replicationFactor: 3,
      firstPartition: 0,
      partitionCount: options.partitionCount,
    }
    const ring = options.nodes.map(({ nodeId, zone }) => ({ nodeId: nodeId as NodeId, weight: 1, zone }))
    const placement = placesInTurn(group, 3)
    return {
      clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00' as Topology['clusterId'],
      clusterName: 'ringcache',
      epoch: 1 as Topology['epoch'],
      hashKey: { low: 1, high: 2 },
      nodes: options.nodes.map((node) => ({
        ...node,
        nodeId: node.nodeId as NodeId,
        incarnation: (node.nodeId === 'b' ? incarnation : INCARNATION_A) as Incarnation,
        diskId: '',
        weight: 1,
        state: 'active',
      })),
      groups: [group],
      regions: [{ ...DEFAULT_REGION, regionId: 0 as RegionId, group: 'default' }],
      nextRegionId: 1,
      voters: [],
      ring: { nodes: ring, placement, previous: ring, previousPlacement: placement, paused: false },
      partitions: placeInTurn(group, 3),
    }
  }
}
