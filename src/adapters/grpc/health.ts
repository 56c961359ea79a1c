/**
 * The standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) and server reflection, so
 * that load balancers, container health checks and grpcurl work without knowing ringcache.
 */

import type { PackageDefinition } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import { HealthImplementation } from 'grpc-health-check'
import type { GrpcService } from './server.ts'

const SERVICES = ['', 'ringcache.v1.Cache'] as const

/** Starts as NOT_SERVING. */
export class HealthService {
  readonly #health = new HealthImplementation({ '': 'NOT_SERVING', 'ringcache.v1.Cache': 'NOT_SERVING' })

  readonly service: GrpcService = (server) => this.#health.addToServer(server)

  set serving(serving: boolean) {
    for (const name of SERVICES) this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING')
  }
}

export function reflectionService(protos: PackageDefinition): GrpcService {
  const reflection = new ReflectionService(protos)
  return (server) => reflection.addToServer(server)
}
