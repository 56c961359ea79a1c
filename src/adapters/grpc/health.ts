/**
 * The standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) and server reflection, so
 * that load balancers, container health checks and grpcurl work without knowing ringcache.
 */

import type { PackageDefinition } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import { HealthImplementation } from 'grpc-health-check'
import type { GrpcService } from './server.ts'

/** What can be asked for by name. */
const ANSWERS = ['', 'ringcache.v1.Cache'] as const
/** Serving while the node holds replicas; a node without any still answers, by passing calls on. */
const REPLICAS = 'ringcache.replicas'

/** Everything starts as NOT_SERVING. */
export class HealthService {
  readonly #health = new HealthImplementation({
    '': 'NOT_SERVING',
    'ringcache.v1.Cache': 'NOT_SERVING',
    [REPLICAS]: 'NOT_SERVING',
  })

  #answering = false
  #holdsReplicas = false

  readonly service: GrpcService = (server) => this.#health.addToServer(server)

  /** Whether the node answers calls, as which the process as a whole counts as healthy. */
  set answering(serving: boolean) {
    // Every report goes to all who watch, so only changes are reported.
    if (serving === this.#answering) return
    this.#answering = serving
    for (const name of ANSWERS) this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING')
  }

  set holdsReplicas(serving: boolean) {
    if (serving === this.#holdsReplicas) return
    this.#holdsReplicas = serving
    this.#health.setStatus(REPLICAS, serving ? 'SERVING' : 'NOT_SERVING')
  }

  stop(): void {
    this.answering = false
    this.holdsReplicas = false
  }
}

export function reflectionService(protos: PackageDefinition): GrpcService {
  const reflection = new ReflectionService(protos)
  return (server) => reflection.addToServer(server)
}
