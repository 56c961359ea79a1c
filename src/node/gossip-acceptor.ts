/** The accepting side's handshake of a gossip stream, where no other lane shares the listener. */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import { FrameType } from '../wire/frames.ts'
import { encodeError, negotiate } from '../wire/handshake.ts'
import { decodePeerHello, type PeerHello } from '../wire/peer-frames.ts'
import type { FrameHandler, FrameStream } from '../wire/transport.ts'
import type { GossipIdentity } from './gossip-link.ts'

const HELLO_TIMEOUT_MS = 5000

/** @param adopt takes the stream over and answers the hello. */
export function acceptGossip(
  stream: FrameStream,
  identity: GossipIdentity,
  scheduler: Scheduler,
  adopt: (hello: PeerHello) => FrameHandler,
): FrameHandler {
  let inner: FrameHandler | undefined
  let refused = false
  const refuse = (error: CacheError): void => {
    refused = true
    stream.send(encodeError(error.code, error.message))
    stream.close()
  }
  const timer = scheduler.after(HELLO_TIMEOUT_MS, () =>
    refuse(new CacheError('PROTOCOL_ERROR', `no PEER_HELLO within ${HELLO_TIMEOUT_MS} ms`)),
  )
  return {
    frame(body: Uint8Array): void {
      if (refused) return
      try {
        if (inner !== undefined) inner.frame(body)
        else {
          timer.cancel()
          inner = adopt(greet(body, identity))
        }
      } catch (error) {
        refuse(toCacheError(error))
      }
    },
    drained(): void {},
    closed(error: CacheError | undefined): void {
      timer.cancel()
      inner?.closed(error)
    },
  }
}

function greet(body: Uint8Array, { clusterName, nodeId, clusterId }: GossipIdentity): PeerHello {
  if (body[0] !== FrameType.peerHello)
    throw new CacheError('PROTOCOL_ERROR', 'the first frame is not PEER_HELLO')
  const hello = decodePeerHello(new ByteReader(body, 1))
  negotiate(hello.versionMin, hello.versionMax)
  if (hello.lane !== 'gossip') throw new CacheError('UNSUPPORTED', 'this listener takes gossip only')
  if (hello.clusterName !== clusterName)
    throw new CacheError(
      'WRONG_CLUSTER',
      `this node belongs to cluster ${clusterName}, not ${hello.clusterName}`,
    )
  const own = clusterId()
  if (hello.clusterId !== '' && own !== '' && hello.clusterId !== own)
    throw new CacheError('WRONG_CLUSTER', `this node belongs to cluster ${own}, not ${hello.clusterId}`)
  if (hello.targetNodeId !== '' && hello.targetNodeId !== nodeId)
    throw new CacheError('CONFIGURATION', `this is node ${nodeId}, not ${hello.targetNodeId}`)
  return hello
}
