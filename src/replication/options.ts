/** What can be set of the replication of a node. */

export interface ReplicationOptions {
  /** Backlog of this node, in bytes. Default 64 MiB. */
  readonly backlogBytes: number
  /** A peer silent for this long does not count as available, in milliseconds. Default 1,000. */
  readonly replicaTimeoutMs: number
  /** Longest key, in bytes. Default 1,024. */
  readonly keyBytesMax: number
  /** Largest value, in bytes. Default 16 MiB. */
  readonly valueBytesMax: number
  /** Large values in flight, in bytes, to all peers and from all peers each. Default 128 MiB. */
  readonly stagingBytes: number
  /** Longest timeout an operation can have, in milliseconds; ids are kept twice as long. Default 30,000. */
  readonly timeoutMaxMs: number
  /** A node without contact to a majority of voters for this long stops acting as primary, in milliseconds. Default 3,000. */
  readonly quarantineAfterMs?: number
  /** Bytes a second it sends to learners, besides the log; 0: without limit. Default 0. */
  readonly syncBytesPerSecond?: number
}
