/**
 * What both ends of an Exchange stream agree on.
 *
 * - The dialling end's flow-control window is large, so that values of many mebibytes arrive without a round trip per 64 KiB. The
 *   accepting end opens its own as wide for other nodes, and to 256 KiB for the bulk streams of clients, the first
 *   BULK_STREAMS_WIDE of them; for all other streams it stays at HTTP/2's 64 KiB: that is what bounds a node's memory.
 * - Keepalive pings find a peer that hangs or was cut off within `KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS`.
 */

import { FRAME_BYTES_MAX, FRAME_HEADROOM } from '../../wire/frames.ts'
import type { StreamService } from '../../wire/transport.ts'

export const EXCHANGE_PATHS: Readonly<Record<StreamService, string>> = {
  cache: '/ringcache.v1.Cache/Exchange',
  cluster: '/ringcache.v1.Cluster/Exchange',
}

/** Largest gRPC message of an Exchange stream, in bytes. */
export const MESSAGE_BYTES_MAX: number = FRAME_BYTES_MAX + FRAME_HEADROOM
/**
 * Bytes an end may have been sent before it consumed them. Enough for 8 Gbit/s at a round trip of 1 ms; on loopback
 * 256 KiB and 1 MiB carry the same, 4 MiB a third less, for what has arrived and waits costs memory and collections.
 */
export const WINDOW_BYTES: number = 1024 * 1024
/** The same for a client's bulk stream at a node, and how many of them have it at a time. */
export const BULK_WINDOW_BYTES: number = 256 * 1024
export const BULK_STREAMS_WIDE = 64
/** HTTP/2's default of 16 KiB would cut a large value into many small pieces, each an event. */
export const DATA_FRAME_BYTES_MAX: number = 256 * 1024
export const KEEPALIVE_TIME_MS = 2_000
export const KEEPALIVE_TIMEOUT_MS = 3_000

/** A stream's queue above this many bytes makes `send` return false. */
export const QUEUE_HIGH_BYTES: number = 512 * 1024
