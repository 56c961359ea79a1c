/** `ringcache/node`: run a node of a cluster inside a program of your own. */

export { CacheNode, type CacheNodeOptions } from './cache-node.ts'
export type { NodeStatus, PeerStatus } from './node-core.ts'
