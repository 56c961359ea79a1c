import type { Peer } from '../peer.ts'

export const ringcache: Peer = {
  name: 'ringcache',
  servers: 'ringcache',
  library: undefined,
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'ringcache, 3 nodes, 3 replicas, quorum writes, primary reads, no near cache',
  connect: async () => {
    throw new Error('pending')
  },
}
