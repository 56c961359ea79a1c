/** What happens to a machine: its disk is full, its wall clock jumps. */

import { setTimeout as sleep } from 'node:timers/promises'
import { FalseClock } from '../cluster/false-clock.ts'
import { SmallDisk } from '../cluster/small-disk.ts'
import { between, type Fault, FaultError, pick, seconds } from './fault.ts'

/** Longer than a process may go on with the old offset. */
const CLOCK_SETTLES_MS = 1_500
const JUMPS_SECONDS = [-3_600, -30, -2, 2, 30, 3_600] as const

export const disk: Fault = {
  about: "a node's disk is full for 2 to 8 s (a small file system of its own)",
  problem: ({ cluster }) =>
    cluster.disk === undefined ? (SmallDisk.problem() ?? 'no node has a file system of its own') : undefined,
  inject: async ({ cluster, random }) => {
    if (cluster.disk === undefined) throw new FaultError('no node has a file system of its own')
    const { node, disk: small } = cluster.disk
    const heldMs = between(random, 2_000, 8_000)
    await small.fill()
    await sleep(heldMs)
    small.free()
    // A node may end when it can't write; it then has to be started again, as an operator would.
    if (!node.isRunning) {
      await node.start()
      return `${node.id} for ${seconds(heldMs)}; it ended, and was started again`
    }
    return `${node.id} for ${seconds(heldMs)}`
  },
}

export const clock: Fault = {
  about: "a node's wall clock jumps by 2 s to an hour, either way, and back after 2 to 6 s (libfaketime)",
  problem: ({ cluster }) => {
    if (cluster.nodes.some((node) => node.clock !== undefined)) return undefined
    return FalseClock.library() === undefined
      ? 'libfaketime is not installed: run scripts/install-faketime.sh as root'
      : 'no node has a clock of its own'
  },
  inject: async ({ cluster, random }) => {
    const node = pick(
      random,
      cluster.nodes.filter((each) => each.clock !== undefined),
    )
    const jump = pick(random, JUMPS_SECONDS)
    const heldMs = between(random, 2_000, 6_000)
    node.clock?.set(jump)
    await sleep(heldMs)
    node.clock?.set(0)
    await sleep(CLOCK_SETTLES_MS)
    return `${node.id} by ${jump} s for ${seconds(heldMs)}`
  },
}
