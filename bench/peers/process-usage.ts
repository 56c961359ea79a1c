/** CPU time and memory of processes, from Linux's /proc (proc(5)). Elsewhere, and for processes that ended, zeros. */

import { readFileSync } from 'node:fs'

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

export function rssBytesOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
