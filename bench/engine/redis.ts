/**
 * RSS per entry of a redis-server of its own, filled over a unix socket: the same keys and sizes. Its speed is not
 * measured here; a socket stands between.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { JobResult } from './jobs.ts'
import { keyText, noise } from './subjects.ts'

const BATCH = 1000
const OK = '+OK\r\n'

/** Its version, or undefined when it is not installed. */
export function redisVersion(): string | undefined {
  try {
    return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

export async function measureRedis(
  entries: number,
  valueBytes: number,
  overwrites: number,
): Promise<JobResult> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-redis-'))
  const path = join(folder, 'redis.sock')
  const server = spawn(
    'redis-server',
    ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--dir', folder],
    { stdio: 'ignore' },
  )
  try {
    for (let tries = 0; !existsSync(path); tries++) {
      if (tries === 100) throw new Error('redis-server did not open its socket within 5 s')
      await delay(50)
    }
    const socket = createConnection(path)
    await once(socket, 'connect')
    const before = rssOf(server)
    await drive(socket, entries, (i) => setCommand(i, valueBytes))
    const freshBytes = (rssOf(server) - before) / entries
    await drive(socket, overwrites, () =>
      setCommand(
        Math.floor(Math.random() * entries),
        (valueBytes >>> 1) + Math.floor(Math.random() * (valueBytes + 1)),
      ),
    )
    const overwrittenBytes = (rssOf(server) - before) / entries
    socket.destroy()
    return { freshBytes, overwrittenBytes }
  } finally {
    const gone = once(server, 'exit')
    server.kill()
    await gone
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Sends `count` commands, a thousand at a time, each thousand answered before the next. */
async function drive(socket: Socket, count: number, command: (i: number) => Buffer[]): Promise<void> {
  let answered = 0
  let awaited = 0
  let wake = (): void => {}
  const onData = (chunk: Buffer): void => {
    answered += chunk.length
    if (answered >= awaited) wake()
  }
  socket.on('data', onData)
  for (let i = 0; i < count; ) {
    const parts: Buffer[] = []
    const end = Math.min(count, i + BATCH)
    for (; i < end; i++) parts.push(...command(i))
    awaited = i * OK.length
    const done = new Promise<void>((resolve) => {
      wake = resolve
    })
    socket.write(Buffer.concat(parts))
    await done
  }
  socket.off('data', onData)
  if (answered !== awaited) throw new Error('redis-server refused a SET')
}

function setCommand(i: number, valueBytes: number): Buffer[] {
  const start = i & 1023
  return [
    Buffer.from(`*3\r\n$3\r\nSET\r\n$12\r\n${keyText(i)}\r\n$${valueBytes}\r\n`),
    noise.subarray(start, start + valueBytes),
    CRLF,
  ]
}

const CRLF = Buffer.from('\r\n')

function rssOf(server: ChildProcess): number {
  const status = readFileSync(`/proc/${server.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}
