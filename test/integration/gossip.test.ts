/** Gossip between real processes over gRPC: what only the system's own sockets and signals can show. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const SCRIPT = fileURLToPath(new URL('../support/gossip-process.ts', import.meta.url))
const ADDRESSES = [7585, 7586, 7587].map((port) => `127.0.0.1:${port}`)

interface Seen {
  readonly by: string
  readonly atMs: number
  readonly of: string
  readonly verdict: string
  readonly proven: boolean
}

describe('gossip between processes', () => {
  const children = new Map<string, ChildProcess>()
  let seen: Seen[]

  function start(nodeId: string): void {
    const child = fork(SCRIPT, [nodeId, ...ADDRESSES], { execArgv: ['--import', 'tsx'] })
    child.on('message', (message: Omit<Seen, 'by'>) => seen.push({ by: nodeId, ...message }))
    children.set(nodeId, child)
  }

  function child(nodeId: string): ChildProcess {
    const found = children.get(nodeId)
    if (found === undefined) throw new Error(`${nodeId} does not run`)
    return found
  }

  async function until(condition: () => boolean, limitMs: number): Promise<void> {
    const giveUpMs = Date.now() + limitMs
    while (!condition()) {
      if (Date.now() > giveUpMs)
        throw new Error(`not within ${limitMs} ms: ${condition}\n${JSON.stringify(seen)}`)
      await sleep(5)
    }
  }

  const count = (of: string, verdict: string): number =>
    new Set(seen.filter((one) => one.of === of && one.verdict === verdict).map(({ by }) => by)).size

  beforeEach(async () => {
    seen = []
    for (const nodeId of ['n1', 'n2', 'n3']) start(nodeId)
    await until(() => ['n1', 'n2', 'n3'].every((nodeId) => count(nodeId, 'alive') === 2), 20_000)
    await sleep(500)
    seen = []
  })

  afterEach(async () => {
    for (const one of children.values()) {
      if (one.exitCode !== null || one.signalCode !== null) continue
      const gone = once(one, 'exit')
      one.kill('SIGKILL')
      await gone
    }
    children.clear()
  })

  it('proves a killed process dead long before silence would tell, and takes its successor in', async () => {
    const killedMs = Date.now()
    child('n3').kill('SIGKILL')
    await until(() => count('n3', 'dead') === 2, 5000)
    const dead = seen.filter(({ verdict }) => verdict === 'dead')
    expect(dead.every(({ of, proven }) => of === 'n3' && proven)).toBe(true)
    // 40 to 80 ms on a machine at rest; silence takes 2,500.
    expect(Math.max(...dead.map(({ atMs }) => atMs)) - killedMs).toBeLessThan(2000)
    start('n3')
    await until(() => count('n3', 'alive') === 2, 15_000)
  })

  it('gives a stopped process up after some seconds, without proof, and takes it back', async () => {
    const stoppedMs = Date.now()
    child('n2').kill('SIGSTOP')
    await until(() => count('n2', 'dead') === 2, 10_000)
    const dead = seen.filter(({ verdict }) => verdict === 'dead')
    expect(dead.every(({ of, proven }) => of === 'n2' && !proven)).toBe(true)
    expect(Math.min(...dead.map(({ atMs }) => atMs)) - stoppedMs).toBeGreaterThan(2000)
    seen = []
    child('n2').kill('SIGCONT')
    await until(() => count('n2', 'alive') === 2, 10_000)
    expect(seen.filter(({ verdict }) => verdict === 'dead' || verdict === 'condemned')).toEqual([])
  })

  it('holds nobody for dead because of a process whose event loop stalls for two seconds', async () => {
    child('n1').send(2000)
    await sleep(6000)
    expect(seen.filter(({ verdict }) => verdict === 'dead')).toEqual([])
    expect(seen.filter(({ verdict, of }) => verdict === 'suspect' && of !== 'n1')).toEqual([])
  })
})
