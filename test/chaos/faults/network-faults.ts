/** What happens between processes. Every one of these heals by itself: nodes keep running, and keep what they hold. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { End } from '../network/network.ts'
import { anyNode, between, type Fault, type FaultContext, pick, seconds } from './fault.ts'

const CUT_MS_MIN = 1_000
const CUT_MS_MAX = 8_000
const DELAY_MS_MIN = 10
const DELAY_MS_MAX = 150

export const cut: Fault = {
  about: 'nothing passes between two nodes for 1 to 8 s; both reach all others',
  problem: needsCuts,
  inject: async (context) => {
    const { cluster, random } = context
    const one = (await anyNode(context)).id
    const other = pick(
      random,
      cluster.running.map((node) => node.id).filter((id) => id !== one),
    )
    const cutMs = between(random, CUT_MS_MIN, CUT_MS_MAX)
    await withCuts(context, [...both(one, other)], cutMs)
    return `${one} – ${other} for ${seconds(cutMs)}`
  },
}

export const isolate: Fault = {
  about: 'a node reaches no other node for 1 to 8 s; clients reach it',
  problem: needsCuts,
  inject: async (context) => {
    const { id } = await anyNode(context)
    const cutMs = between(context.random, CUT_MS_MIN, CUT_MS_MAX)
    await withCuts(
      context,
      others(context, id).flatMap((other) => both(id, other)),
      cutMs,
    )
    return `${id} for ${seconds(cutMs)}`
  },
}

export const away: Fault = {
  about: 'a node reaches neither nodes nor clients for 1 to 8 s',
  problem: needsCuts,
  inject: async (context) => {
    const { id } = await anyNode(context)
    const cutMs = between(context.random, CUT_MS_MIN, CUT_MS_MAX)
    const ends = [...others(context, id), ...context.clients]
    await withCuts(
      context,
      ends.flatMap((other) => both(id, other)),
      cutMs,
    )
    return `${id} for ${seconds(cutMs)}`
  },
}

export const oneWay: Fault = {
  about: 'what a node sends to the other nodes is lost, or what they send to it, for 1 to 8 s',
  problem: needsCuts,
  inject: async (context) => {
    const { id } = await anyNode(context)
    const cutMs = between(context.random, CUT_MS_MIN, CUT_MS_MAX)
    const sends = between(context.random, 0, 1) === 0
    const ways = others(context, id).map((other): Way => (sends ? [id, other] : [other, id]))
    await withCuts(context, ways, cutMs)
    return `${id} ${sends ? 'is not heard' : 'hears nothing'} for ${seconds(cutMs)}`
  },
}

export const clientCut: Fault = {
  about: 'a client does not reach one of the nodes for 1 to 8 s',
  problem: needsCuts,
  inject: async (context) => {
    const client = pick(context.random, context.clients)
    const node = (await anyNode(context)).id
    const cutMs = between(context.random, CUT_MS_MIN, CUT_MS_MAX)
    await withCuts(context, both(client, node), cutMs)
    return `${client} – ${node} for ${seconds(cutMs)}`
  },
}

export const delay: Fault = {
  about: 'all that one node sends and gets takes 10 to 150 ms longer each way, for 1 to 8 s',
  problem: ({ network }) =>
    network.abilities.delay ? undefined : `this network has no delays (${network.kind}); use --network proxy`,
  inject: async (context) => {
    const { network, clients, random } = context
    const { id } = await anyNode(context)
    const delayMs = between(random, DELAY_MS_MIN, DELAY_MS_MAX)
    const heldMs = between(random, CUT_MS_MIN, CUT_MS_MAX)
    const ways = [...others(context, id), ...clients].flatMap((other) => both(id, other))
    for (const [from, to] of ways) await network.delay(from, to, delayMs)
    await sleep(heldMs)
    for (const [from, to] of ways) await network.heal(from, to)
    return `${id}: ${delayMs} ms for ${seconds(heldMs)}`
  },
}

export const reset: Fault = {
  about: 'all connections of a node are reset; it can be reached at once again',
  problem: ({ network }) =>
    network.abilities.reset ? undefined : `connections can't be reset in this network (${network.kind})`,
  inject: async (context) => {
    const { id } = await anyNode(context)
    for (const other of [...others(context, id), ...context.clients]) await context.network.reset(id, other)
    return id
  },
}

type Way = readonly [from: End, to: End]

function both(one: End, other: End): readonly Way[] {
  return [
    [one, other],
    [other, one],
  ]
}

function others({ cluster }: FaultContext, node: End): readonly End[] {
  return cluster.running.map(({ id }) => id).filter((id) => id !== node)
}

async function withCuts({ network }: FaultContext, ways: readonly Way[], cutMs: number): Promise<void> {
  for (const [from, to] of ways) await network.cut(from, to)
  try {
    await sleep(cutMs)
  } finally {
    for (const [from, to] of ways) await network.heal(from, to)
  }
}

function needsCuts({ network }: FaultContext): string | undefined {
  return network.abilities.cut ? undefined : `this network can't be cut (${network.kind})`
}
