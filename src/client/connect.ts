/**
 * The way in: puts the machine's clock, randomness and network behind a client. With `embedded: true` a whole node runs in this
 * process, reached without a socket: same engine, same semantics, gone with the process. With `embedded: { join }` that node is a
 * member of a cluster.
 */

import { GrpcDialer } from '../adapters/grpc/dialer.ts'
import { systemClock } from '../adapters/system/clock.ts'
import { systemRandom } from '../adapters/system/random.ts'
import { systemScheduler } from '../adapters/system/scheduler.ts'
import { ByteReader } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { silentLog } from '../kernel/log.ts'
import { LoopbackNetwork } from '../wire/loopback.ts'
import type { Cache } from './cache.ts'
import { openClient } from './cache-client.ts'
import type { ClientPorts } from './client-core.ts'
import { decompress } from './codecs/compression.ts'
import {
  type EmbeddedOptions,
  type MemberSettings,
  resolveMember,
  resolveMemoryBytes,
  resolveRegions,
} from './embedded.ts'
import { type ConnectOptions, resolveSettings } from './options.ts'

const EMBEDDED_ADDRESS = 'embedded:0'

/**
 * Connects to a cluster, or starts a node inside this process.
 * @throws CacheError INVALID_ARGUMENT for a wrong option, UNAVAILABLE when no node answers within `connectTimeout`, NOT_READY
 * when the cluster is still starting, UNKNOWN_REGION.
 */
export async function connect<V = unknown>(
  options: ConnectOptions & { readonly embedded?: boolean | EmbeddedOptions },
): Promise<Cache<V>> {
  if (typeof options !== 'object' || options === null)
    throw new CacheError('INVALID_ARGUMENT', "connect needs options, such as { nodes: ['127.0.0.1:7401'] }")
  const { embedded, ...rest } = options
  if (embedded === undefined || embedded === false) {
    const settings = resolveSettings(rest)
    if (settings.nodes.length === 0) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        "connect needs the address of a node, such as { nodes: ['127.0.0.1:7401'] }, or { embedded: true }",
      )
    }
    return openClient<V>({ ...machine(), dialer: new GrpcDialer() }, settings)
  }
  if (rest.nodes !== undefined) {
    throw new CacheError('INVALID_ARGUMENT', 'give either nodes or embedded, not both')
  }
  return startEmbedded<V>(rest, embedded === true ? {} : embedded)
}

async function startEmbedded<V>(options: ConnectOptions, embedded: EmbeddedOptions): Promise<Cache<V>> {
  const member = resolveMember(embedded)
  if (member !== undefined) return joinCluster<V>(options, member)
  const settings = resolveSettings({ ...options, nodes: [EMBEDDED_ADDRESS] })
  // Loaded only here: a client of a remote cluster needs no engine.
  const { NodeCore } = await import('../node/node-core.ts')
  const { DEFAULT_REGION, SINGLE_NODE } = await import('../node/options.ts')
  const regions = resolveRegions(embedded).map((region) => ({ ...DEFAULT_REGION, ...region }))
  const memoryLimitBytes = resolveMemoryBytes(embedded)
  const ports = machine()
  const network = new LoopbackNetwork(ports.scheduler)
  const node = new NodeCore(
    {
      ...SINGLE_NODE,
      nodes: [{ nodeId: SINGLE_NODE.nodeId, address: EMBEDDED_ADDRESS, zone: '' }],
      regions,
      ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
    },
    {
      ...ports,
      log: silentLog,
      dialer: network.dialer(),
      uncompress: (stored) => decompress(new ByteReader(stored), SINGLE_NODE.valueBytesMax),
    },
  )
  network.listen(EMBEDDED_ADDRESS, node.accept)
  node.start()
  const close = async (): Promise<void> => {
    node.close()
    network.unlisten(EMBEDDED_ADDRESS)
  }
  return openClient<V>({ ...ports, dialer: network.dialer() }, settings, close)
}

/** A member of a cluster, and a client that reaches its own node without a socket. */
async function joinCluster<V>(options: ConnectOptions, member: MemberSettings): Promise<Cache<V>> {
  const { address, config, nodeId, join } = member
  const settings = resolveSettings({ ...options, nodes: [address] })
  const { CacheNode } = await import('../node/cache-node.ts')
  const node = await CacheNode.start({ config, nodeId, join, log: silentLog })
  try {
    await node.whenServing(settings.connectTimeoutMs)
    return await openClient<V>({ ...machine(), dialer: node.localDialer() }, settings, () => node.close())
  } catch (error) {
    await node.close()
    throw error
  }
}

function machine(): Omit<ClientPorts, 'dialer'> {
  return { clock: systemClock, scheduler: systemScheduler, random: systemRandom }
}
