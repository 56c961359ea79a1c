/** What happens to processes: crashes, restarts with and without their disk, and hangs. */

import { setTimeout as sleep } from 'node:timers/promises'
import { always, anyNode, between, type Fault, type FaultContext, seconds } from './fault.ts'

const STALL_MS = 2_000

export const kill: Fault = {
  about: 'kill -9 of a node, started again with its data directory after 0.5 to 4 s',
  problem: always,
  inject: (context) => crash(context, false),
}

export const wipe: Fault = {
  about: 'kill -9 of a node, started again with an empty data directory after 0.5 to 4 s',
  problem: always,
  inject: (context) => crash(context, true),
}

export const restart: Fault = {
  about: 'SIGTERM of a node, which ends in order, and is started again at once',
  problem: always,
  inject: async (context) => {
    const node = await anyNode(context)
    await node.stop()
    await node.start()
    return node.id
  },
}

export const stop: Fault = {
  about: 'SIGSTOP of a node for 0.2 to 8 s, then SIGCONT: shorter and longer than what counts as dead',
  problem: always,
  inject: (context) => pause(context, between(context.random, 200, 8_000)),
}

export const stall: Fault = {
  about: 'SIGSTOP of a node for 2 s: its event loop stands still',
  problem: always,
  inject: (context) => pause(context, STALL_MS),
}

export const rolling: Fault = {
  about: 'every node restarted in order, the next one when all partitions are fully replicated again',
  problem: always,
  inject: async (context) => {
    for (const node of context.cluster.nodes) {
      await context.untilSafe()
      await node.stop()
      await node.start()
    }
    return 'all nodes'
  },
}

async function crash(context: FaultContext, loseDisk: boolean): Promise<string> {
  const node = await anyNode(context)
  const downMs = between(context.random, 500, 4_000)
  await node.kill()
  await sleep(downMs)
  if (loseDisk) node.wipe()
  await node.start()
  return `${node.id}, down for ${seconds(downMs)}`
}

async function pause(context: FaultContext, pauseMs: number): Promise<string> {
  const node = await anyNode(context)
  node.pause()
  await sleep(pauseMs)
  node.resume()
  return `${node.id} for ${seconds(pauseMs)}`
}
