/** Real nodes on real sockets, in this process. */

import { silentLog } from '../../src/kernel/log.ts'
import { CacheNode } from '../../src/node/cache-node.ts'

export interface NodeCluster extends AsyncDisposable {
  readonly nodes: readonly CacheNode[]
  readonly addresses: readonly string[]
  close(): Promise<void>
}

/** @param more options of the configuration besides name and nodes */
export async function startNodeCluster(
  firstPort: number,
  count: number,
  more: object = {},
): Promise<NodeCluster> {
  const addresses = Array.from({ length: count }, (_, index) => `127.0.0.1:${firstPort + index}`)
  const config = {
    nodes: addresses.map((address, index) => ({
      id: `node${index + 1}`,
      address,
      zone: `zone${index + 1}`,
      dataDir: 'none',
    })),
    // Each counts the whole process, the test runner and the other nodes included: far from where it would evict.
    memory: { limit: '1gb' },
    replication: { partitions: 64, backlog: '16mb' },
    ...more,
  }
  const nodes = await Promise.all(
    config.nodes.map(({ id }) => CacheNode.start({ config, nodeId: id, log: silentLog })),
  )
  const close = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.close(1000)))
  }
  try {
    await Promise.all(nodes.map((node) => node.whenServing(10_000)))
  } catch (error) {
    await close()
    throw error
  }
  return { nodes, addresses, close, [Symbol.asyncDispose]: close }
}
