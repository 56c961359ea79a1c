/** When each peer is sent what the log has for it. */

import { beforeEach, expect, it } from 'vitest'
import { LogShipping } from '../../../src/replication/log-shipping.ts'
import type { PeerLog } from '../../../src/replication/peer-log.ts'
import { Replica } from '../../../src/replication/replica.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import type { Topology } from '../../../src/topology/topology.ts'

/** A peer that notes what it is told to do. */
class Peer {
  readonly told: string[] = []
  readonly moved = new Set()
  available = true
  linked = true
  lastAckMs = 0
  lastSentMs: number
  readonly #time: VirtualTime

  constructor(time: VirtualTime) {
    this.#time = time
    this.lastSentMs = time.monotonicMs()
  }

  hurry(): void {
    this.#sent('hurry')
  }

  heartbeat(): void {
    this.#sent('heartbeat')
  }

  flush(): void {
    this.#sent('flush')
  }

  stop(): void {
    this.told.push('stop')
  }

  #sent(what: string): void {
    this.told.push(what)
    this.lastSentMs = this.#time.monotonicMs()
  }
}

let time: VirtualTime
let peers: Peer[]
let shipping: LogShipping
let replica: Replica

/** Only what the shipping reads of a topology. */
function topologyOf(...incarnations: string[]): Topology {
  const nodes = incarnations.map((incarnation, i) => ({ nodeId: `node-${i}`, incarnation }))
  return { nodes } as unknown as Topology
}

const told = (): string[][] => [1, 2].map((node) => peers[node]?.told.splice(0) ?? [])

beforeEach(() => {
  time = new VirtualTime()
  peers = []
  shipping = new LogShipping({
    clock: time,
    scheduler: time,
    open: (node) => {
      const peer = new Peer(time)
      peers[node] = peer
      // A class with private fields has no other instances; the shipping calls only what stands above.
      return peer as unknown as PeerLog
    },
  })
  shipping.adopt(undefined, topologyOf('a', 'b', 'c'), 0)
  replica = new Replica(0, 4, 0, 0, [0, 1, 2])
})

it('sends at the end of the turn to a quorum, and to the others within 4 ms', async () => {
  shipping.flushLater()
  shipping.hurry(replica, 'quorum')
  await time.advance(1)
  expect(told()).toEqual([['hurry'], []])
  await time.advance(4)
  expect(told()).toEqual([['flush'], ['flush']])
})

it('sends to all at once when all are waited for', async () => {
  shipping.hurry(replica, 'all')
  await time.advance(1)
  expect(told()).toEqual([['hurry'], ['hurry']])
})

it('passes over who is not there, and takes the next', async () => {
  const [, first] = peers
  if (first !== undefined) first.available = false
  shipping.hurry(replica, 'quorum')
  await time.advance(1)
  expect(told()).toEqual([[], ['hurry']])
  expect(shipping.available(replica)).toBe(2)
})

it('sends at once, too, to who was sent nothing for 4 ms', async () => {
  await time.advance(5)
  shipping.hurry(replica, 'quorum')
  await time.advance(1)
  expect(told()).toEqual([['hurry'], ['hurry']])
})

it('sends one frame a turn however many writes wait', async () => {
  for (let i = 0; i < 10; i++) shipping.hurry(replica, 'quorum')
  await time.advance(1)
  expect(told()).toEqual([['hurry'], []])
})

it('has every member acknowledge a frame when it probes', async () => {
  shipping.probe(replica)
  await time.advance(1)
  expect(told()).toEqual([
    ['hurry', 'heartbeat'],
    ['hurry', 'heartbeat'],
  ])
})

it('gives another process in the place of one a log of its own', () => {
  const [, former, other] = peers
  shipping.adopt(topologyOf('a', 'b', 'c'), topologyOf('a', 'b2', 'c'), 0)
  expect(former?.told).toEqual(['stop'])
  expect(peers[1]).not.toBe(former)
  expect(peers[2]).toBe(other)
})

it('has no peers without a role', () => {
  const before = topologyOf('a', 'b', 'c')
  shipping.adopt(before, before, -1)
  expect(told()).toEqual([['stop'], ['stop']])
  expect(shipping.peer(1)).toBeUndefined()
})

it('sends nothing by itself once closed', async () => {
  shipping.flushLater()
  shipping.hurry(replica, 'all')
  shipping.close()
  shipping.flushSoon()
  await time.advance(100)
  expect(told()).toEqual([[], []])
})
