import { GrpcDialer } from '../../src/adapters/grpc/dialer.ts'
import { GrpcServer } from '../../src/adapters/grpc/server.ts'
import { systemScheduler } from '../../src/adapters/system/scheduler.ts'
import { SeededRandom } from '../../src/kernel/random.ts'
import { SimulatedHost } from '../../src/testing/simulated-host.ts'
import { SimulatedNetwork } from '../../src/testing/simulated-network.ts'
import { VirtualTime } from '../../src/testing/virtual-time.ts'
import { LoopbackNetwork } from '../../src/wire/loopback.ts'
import { type TransportHarness, transportContract } from './transport.contract.ts'

transportContract('gRPC', async (): Promise<TransportHarness> => {
  const dialer = new GrpcDialer()
  let server: GrpcServer | undefined
  return {
    address: '127.0.0.1:7550',
    deadAddress: '127.0.0.1:7551',
    dialer,
    holdsSenderBack: true,
    listen: async (accept) => {
      server = await GrpcServer.listen('127.0.0.1:7550', { accept, streamsMax: { cache: 100, cluster: 100 } })
    },
    until: poll,
    quiet: () => pause(40),
    close: async () => {
      dialer.close()
      await server?.close(0)
    },
  }
})

transportContract('in process', async (): Promise<TransportHarness> => {
  const network = new LoopbackNetwork(systemScheduler)
  const dialer = network.dialer()
  return {
    address: 'node:1',
    deadAddress: 'node:2',
    dialer,
    holdsSenderBack: true,
    listen: async (accept) => network.listen('node:1', accept),
    until: poll,
    quiet: () => pause(2),
    close: async () => dialer.close(),
  }
})

transportContract('simulated', async (): Promise<TransportHarness> => {
  const time = new VirtualTime()
  const network = new SimulatedNetwork(time, new SeededRandom(1))
  const far = new SimulatedHost('far', time)
  const near = new SimulatedHost('near', time)
  return {
    address: 'far:1',
    deadAddress: 'far:2',
    dialer: network.dialer(near),
    holdsSenderBack: false,
    listen: async (accept) => network.listen('far:1', far, accept),
    until: async (condition) => {
      for (let i = 0; i < 2000 && !condition(); i++) await time.advance(5)
      if (!condition()) throw new Error(`does not hold within 10 s of virtual time: ${condition}`)
    },
    quiet: () => time.advance(500),
    close: async () => {},
  }
})

async function poll(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 8000
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`does not hold within 8 s: ${condition}`)
    await pause(1)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
