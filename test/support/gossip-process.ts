/** A process that does nothing but gossip over gRPC; run by tests that kill and stop real processes. */

import { GrpcDialer } from '../../src/adapters/grpc/dialer.ts'
import { GrpcServer } from '../../src/adapters/grpc/server.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'
import { systemScheduler } from '../../src/adapters/system/scheduler.ts'
import { silentLog } from '../../src/kernel/log.ts'
import { randomHex } from '../../src/kernel/random.ts'
import { Gossip } from '../../src/node/gossip.ts'

const [nodeId = '', ...addresses] = process.argv.slice(2)
const peers = addresses.map((address, i) => ({ nodeId: `n${i + 1}`, address }))
const address = peers.find((peer) => peer.nodeId === nodeId)?.address ?? ''

const gossip = new Gossip(
  {
    clusterName: 'test',
    nodeId,
    incarnation: randomHex(systemRandom, 16),
    address,
    diskId: () => '',
    clusterId: () => '',
  },
  peers,
  {
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    log: silentLog,
    dialer: new GrpcDialer(),
  },
  {
    changed: ({ nodeId: of, verdict, proven }) => process.send?.({ atMs: Date.now(), of, verdict, proven }),
    topologyDiffers: () => {},
    condemned: () => process.send?.({ atMs: Date.now(), of: nodeId, verdict: 'condemned', proven: true }),
  },
)
process.on('message', (stallMs: number) => {
  // Nothing runs in this process meanwhile.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stallMs)
})
process.on('disconnect', () => process.exit())
await GrpcServer.listen(address, {
  accept: (_service, stream) => gossip.accept(stream),
  streamsMax: { cache: 1, cluster: 100 },
})
gossip.start()
