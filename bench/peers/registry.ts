/** All peers by name, and how the servers of each kind are started. */

import { ioredisCluster, ioredisSingle } from './clients/ioredis.ts'
import { ioredisWaitBatch, ioredisWaitEach } from './clients/ioredis-wait.ts'
import { memjs } from './clients/memjs.ts'
import { nodeRedisCluster } from './clients/node-redis.ts'
import { ringcache } from './clients/ringcache.ts'
import { valkeyGlideCluster } from './clients/valkey-glide.ts'
import type { Peer, PeerName, ServerKind, Servers } from './peer.ts'
import { startMemcached } from './servers/memcached.ts'
import { startRedis } from './servers/redis.ts'
import { type RingcacheSettings, startRingcache } from './servers/ringcache.ts'

export const PEERS: Readonly<Record<PeerName, Peer>> = {
  ringcache,
  'ioredis-cluster': ioredisCluster,
  'node-redis-cluster': nodeRedisCluster,
  'valkey-glide-cluster': valkeyGlideCluster,
  'ioredis-cluster-wait1': ioredisWaitEach,
  'ioredis-cluster-wait-batch': ioredisWaitBatch,
  'ioredis-single': ioredisSingle,
  memjs,
}

/** Every kind has ports of its own, from `portBase` on; Redis's cluster ports lie 50 above its ports. */
const PORT_OFFSET: Readonly<Record<ServerKind, number>> = {
  ringcache: 0,
  'redis-cluster': 10,
  'redis-cluster-replicas': 20,
  'redis-single': 30,
  memcached: 40,
}

/** How many ports from `portBase` on a run may use. */
export const PORTS_USED = 100

/** The program a kind needs in the PATH. */
export const SERVER_PROGRAM: Readonly<Record<ServerKind, string | undefined>> = {
  ringcache: undefined,
  'redis-cluster': 'redis-server',
  'redis-cluster-replicas': 'redis-server',
  'redis-single': 'redis-server',
  memcached: 'memcached',
}

export function startServers(
  kind: ServerKind,
  portBase: number,
  settings: RingcacheSettings = {},
): Promise<Servers> {
  const port = portBase + PORT_OFFSET[kind]
  switch (kind) {
    case 'ringcache':
      return startRingcache(port, settings)
    case 'memcached':
      return startMemcached(port)
    default:
      return startRedis(kind, port)
  }
}
