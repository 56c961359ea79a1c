/**
 * What both ends of an Exchange stream agree on, and how grpc-js is set up for it.
 *
 * - No proxy, no service configuration by DNS, no retries, no channelz: none of them serves a stream that lives as long
 *   as the process, and each costs something per message or surprises in someone's environment.
 * - `per_rpc_retry_buffer_size` 0: otherwise grpc-js confirms a write before it is written, and nobody would notice
 *   a full flow-control window until a mebibyte is buffered.
 * - The client's flow-control window is large, so that values of many mebibytes arrive without a round trip per 64 KiB. The
 *   server's stays at HTTP/2's 64 KiB: that is what bounds a node's memory per stream.
 * - Keepalive pings find a peer that hangs or was cut off within `KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS`.
 */

import type { ChannelOptions } from '@grpc/grpc-js'
import { FRAME_BYTES_MAX, FRAME_HEADROOM } from '../../wire/frames.ts'
import type { StreamService } from '../../wire/transport.ts'

export const EXCHANGE_PATHS: Readonly<Record<StreamService, string>> = {
  cache: '/ringcache.v1.Cache/Exchange',
  cluster: '/ringcache.v1.Cluster/Exchange',
}

/** Largest gRPC message of an Exchange stream, in bytes. */
export const MESSAGE_BYTES_MAX: number = FRAME_BYTES_MAX + FRAME_HEADROOM
/**
 * Bytes a client may have been sent before it consumed them. Enough for 8 Gbit/s at a round trip of 1 ms; on loopback
 * 256 KiB and 1 MiB carry the same, 4 MiB a third less, for what has arrived and waits costs memory and collections.
 */
const CLIENT_WINDOW_BYTES = 1024 * 1024
const KEEPALIVE_TIME_MS = 2_000
const KEEPALIVE_TIMEOUT_MS = 3_000

export const CLIENT_OPTIONS: ChannelOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  'grpc.enable_retries': 0,
  'grpc.per_rpc_retry_buffer_size': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  'grpc-node.flow_control_window': CLIENT_WINDOW_BYTES,
  'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
}

/** A stream's queue above this many bytes makes `send` return false. */
export const QUEUE_HIGH_BYTES: number = 512 * 1024
/** `drained` is called when the queue is back at this many bytes. */
export const QUEUE_LOW_BYTES: number = 128 * 1024

/** The bytes as grpc-js wants them, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
