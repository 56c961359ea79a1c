/** The project's .proto files, loaded once per process: they are read at run time, so no generated code is kept. */

import { fileURLToPath } from 'node:url'
import { loadSync, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import { protoPath as healthProto } from 'grpc-health-check'

/** Beside src and dist, and part of the package. */
const FOLDER = fileURLToPath(new URL('../../../proto', import.meta.url))

/** Messages as plain objects: fields in camel case, enums by name, unset members of a `oneof` left out. */
export function loadProtos(): PackageDefinition {
  return loadSync(['cache.proto', 'admin.proto', healthProto], {
    includeDirs: [FOLDER],
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  })
}

export function cacheServiceOf(protos: PackageDefinition): ServiceDefinition {
  return protos['ringcache.v1.Cache'] as ServiceDefinition
}

export function adminServiceOf(protos: PackageDefinition): ServiceDefinition {
  return protos['ringcache.v1.Admin'] as ServiceDefinition
}
