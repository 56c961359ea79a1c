/** One real memcached process. */

import { execFileSync } from 'node:child_process'
import type { Servers } from '../peer.ts'
import { accepts, requireFreePorts, ServerProcess } from './process.ts'

const MEMORY_MIB = 1_024

export async function startMemcached(port: number): Promise<Servers> {
  await requireFreePorts([port])
  // It refuses to run as root without being told which user to become.
  const user = process.getuid?.() === 0 ? ['-u', 'root'] : []
  const server = new ServerProcess('memcached', () => [
    ...['-l', '127.0.0.1', '-p', String(port), '-U', '0', '-m', String(MEMORY_MIB), ...user],
  ])
  try {
    await server.waitFor('listening', () => accepts(port))
  } catch (error) {
    await server.stop()
    throw error
  }
  const version = execFileSync('memcached', ['--version'], { encoding: 'utf8' }).trim().split(' ').at(-1)
  return {
    kind: 'memcached',
    addresses: [`127.0.0.1:${port}`],
    pids: [server.pid],
    versions: { memcached: version ?? 'unknown' },
    stop: () => server.stop(),
  }
}
