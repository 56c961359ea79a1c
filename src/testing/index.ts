/** `ringcache/testing`: a whole cluster in one process, on virtual time, for the tests of applications. */

export type { BootstrapRegion, NodeOptions } from '../node/options.ts'
export {
  type HistoryOperation,
  HistoryRecorder,
  historyLine,
  parseHistory,
} from './history.ts'
export { checkLinearizability, describeViolation, type LinearizabilityReport } from './linearizability.ts'
export type { NetworkOptions } from './simulated-network.ts'
export { createTestCluster, TestCluster, type TestClusterOptions, type TestNode } from './test-cluster.ts'
export { VirtualTime } from './virtual-time.ts'
