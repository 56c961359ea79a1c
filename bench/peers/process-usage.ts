/** CPU time, writes and memory of processes, from Linux's /proc (proc(5)). Elsewhere, and for processes that ended, zeros. */

import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** /proc counts in ticks of 1/100 s on every Linux that Node.js runs on. */
const TICK_US = 10_000

/** utime + stime of all of them together. */
export function cpuUsOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`)
    // The second field is the command in parentheses and may hold anything; utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  }
  return ticks * TICK_US
}

/** How often all of them together have written to a file or socket: on loopback that is where most of a message's cost in the kernel lies. */
export function writesOf(pids: readonly number[]): number {
  let writes = 0
  for (const pid of pids) writes += Number(/^syscw: (\d+)$/m.exec(read(`/proc/${pid}/io`))?.[1] ?? 0)
  return writes
}

export function rssBytesOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024
}

/** How many cores everything on this machine keeps busy, seen for `ms`. */
export async function busyCores(ms: number): Promise<number> {
  const before = cpuMs()
  await sleep(ms)
  const after = cpuMs()
  const total = after.total - before.total
  return total === 0 ? 0 : (cpus().length * (total - (after.idle - before.idle))) / total
}

function cpuMs(): { total: number; idle: number } {
  let total = 0
  let idle = 0
  for (const { times } of cpus()) {
    total += times.user + times.nice + times.sys + times.idle + times.irq
    idle += times.idle
  }
  return { total, idle }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
