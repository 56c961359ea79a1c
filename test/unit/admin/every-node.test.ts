/** All nodes are asked; those that are silent are named. */

import { describe, expect, it } from 'vitest'
import type { AdminChannelPort } from '../../../src/admin/admin-client.ts'
import { EveryNode } from '../../../src/admin/every-node.ts'
import { CacheError } from '../../../src/kernel/errors.ts'

/** Nodes by address, as they are reached. */
class Places {
  readonly open = new Set<string>()
  readonly down = new Set<string>()
  nodes: { nodeId: string; address: string }[] = []
  isStarting = false

  readonly channelTo = (address: string): AdminChannelPort => {
    this.open.add(address)
    return {
      address,
      call: async (method) => {
        if (this.down.has(address)) throw new CacheError('UNAVAILABLE', `no answer from ${address}`)
        if (method === 'listNodes' && this.isStarting) throw new CacheError('NOT_READY', 'starting')
        return method === 'listNodes' ? { nodes: this.nodes } : { from: address }
      },
      close: () => this.open.delete(address),
    }
  }
}

const three = [
  { nodeId: 'n1', address: 'a' },
  { nodeId: 'n2', address: 'b' },
  { nodeId: 'n3', address: 'c' },
]

function every(places: Places, ...addresses: string[]): EveryNode {
  return new EveryNode(places.channelTo, addresses, 1000)
}

describe('every node', () => {
  it('is found through one, and asked', async () => {
    const places = new Places()
    places.nodes = three
    const nodes = every(places, 'b')
    expect(await nodes.find()).toEqual(three)
    const { answers, missing } = await nodes.ask('getMetrics', () => ({}))
    expect(answers).toEqual(expect.arrayContaining([{ from: 'a' }, { from: 'b' }, { from: 'c' }]))
    expect(missing).toEqual([])
    nodes.close()
    expect(places.open).toEqual(new Set())
  })

  it('that is silent is named, and the others count', async () => {
    const places = new Places()
    places.nodes = three
    places.down.add('a').add('c')
    const nodes = every(places, 'a', 'b')
    await nodes.find()
    const { answers, missing } = await nodes.ask('getMetrics', () => ({}))
    expect(answers).toEqual([{ from: 'b' }])
    expect(missing).toEqual([
      { nodeId: 'n1', address: 'a', reason: 'no answer from a' },
      { nodeId: 'n3', address: 'c', reason: 'no answer from c' },
    ])
  })

  it('but those nobody asks for', async () => {
    const places = new Places()
    places.nodes = three
    places.down.add('c')
    const nodes = every(places, 'a')
    await nodes.find()
    const only = (id: string) => nodes.ask('getMetrics', ({ nodeId }) => (nodeId === id ? {} : undefined))
    expect(await only('n2')).toEqual({ answers: [{ from: 'b' }], missing: [] })
    await expect(only('n3')).rejects.toMatchObject({ code: 'UNAVAILABLE', message: 'no answer from c' })
  })

  it('of a cluster that is starting is one of the addresses given', async () => {
    const places = new Places()
    places.isStarting = true
    places.down.add('b')
    const nodes = every(places, 'a', 'b')
    await nodes.find()
    const { answers, missing } = await nodes.ask('getMetrics', () => ({}))
    expect(answers).toEqual([{ from: 'a' }])
    expect(missing).toMatchObject([{ nodeId: '', address: 'b' }])
    places.isStarting = false
    places.nodes = three
    expect(await nodes.find()).toEqual(three)
  })

  it('is remembered while nobody can tell, and let go of once it left', async () => {
    const places = new Places()
    places.nodes = three
    const nodes = every(places, 'a')
    await nodes.find()
    await nodes.ask('getMetrics', () => ({}))
    places.down.add('a').add('b').add('c')
    expect(await nodes.find()).toEqual(three)
    await expect(nodes.ask('getMetrics', () => ({}))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    places.down.clear()
    places.nodes = three.slice(0, 2)
    expect(await nodes.find()).toEqual(three.slice(0, 2))
    expect(places.open).toEqual(new Set(['a', 'b']))
  })
})
