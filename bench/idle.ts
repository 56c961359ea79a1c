/**
 * `npm run bench -- idle`: what a cluster costs that nobody asks anything: user and system time of each of three nodes, as a share of
 * one core. With `--clients` as many connected clients that are idle as well.
 */

import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connectRingcache } from './peers/clients/ringcache.ts'
import { busyCores, cpuUsOf } from './peers/process-usage.ts'
import { topFunctions } from './peers/profile.ts'
import { missingRingcache, startRingcache } from './peers/servers/ringcache.ts'

const HELP = `npm run bench -- idle [options]

  --seconds N      how long the nodes are watched (30)
  --settle N       seconds before that: a node that has just started optimizes its code (10)
  --clients N      connected clients that ask nothing (0)
  --port-base N    first of the loopback ports used (8300)
  --profile DIR    CPU profiles of the nodes, over their whole life; they cost time themselves
  --json FILE      also write the results there
`

/** @returns the exit code: 0; 2 for wrong arguments or when there is nothing to measure. */
export async function run(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ seconds: text, settle: text, clients: text, 'port-base': text, profile: text, json: text },
      help: { type: 'boolean' },
    },
  })
  const problem = missingRingcache()
  const [seconds, settle, clients, firstPort] = [
    Number(values.seconds ?? 30),
    Number(values.settle ?? 10),
    Number(values.clients ?? 0),
    Number(values['port-base'] ?? 8300),
  ]
  const isWrong = ![seconds, settle, clients, firstPort].every(
    (value) => Number.isInteger(value) && value >= 0,
  )
  if (values.help === true || problem !== undefined || isWrong || seconds === 0) {
    console.error(problem ?? HELP)
    return values.help === true ? 0 : 2
  }
  const others = await busyCores(1000)
  const profileFolder = values.profile === undefined ? {} : { profileFolder: resolve(values.profile) }
  const servers = await startRingcache(firstPort, profileFolder)
  const connected = await Promise.all(
    Array.from({ length: clients }, () => connectRingcache<string>(servers.addresses)),
  )
  let shares: number[]
  try {
    for (const client of connected) await client.set('a key', 'a value')
    await sleep(1000 * settle)
    const before = servers.pids.map((pid) => cpuUsOf([pid]))
    const startMs = performance.now()
    await sleep(1000 * seconds)
    const elapsedUs = 1000 * (performance.now() - startMs)
    shares = servers.pids.map((pid, at) => (100 * (cpuUsOf([pid]) - (before[at] as number))) / elapsedUs)
  } finally {
    await Promise.all(connected.map((client) => client.close()))
    await servers.stop()
  }
  if (others > 0.1)
    console.log(`other processes kept ${others.toFixed(2)} cores busy: the figures are too high`)
  for (const [at, share] of shares.entries()) console.log(`node${at + 1}  ${share.toFixed(2)} % of a core`)
  for (const file of servers.profiles ?? []) console.log(['', file, ...topFunctions(file)].join('\n'))
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ seconds, clients, others, shares }, undefined, 2)}\n`)
  return 0
}
