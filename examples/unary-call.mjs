/**
 * Calls a node from a stub made at run time of proto/cache.proto: what a program in any other language does, and
 * what to use where grpcurl is not installed.
 *
 *   node examples/unary-call.mjs 127.0.0.1:7401 Set '{"key": "greeting", "value": {"data": "aGVsbG8=", "encoding": "TEXT"}}'
 *   node examples/unary-call.mjs 127.0.0.1:7402 Get '{"key": "greeting"}'
 *
 * As in grpcurl, bytes are written in base64.
 */

import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const [address, method, request = '{}'] = process.argv.slice(2)
const proto = fileURLToPath(new URL('../proto/cache.proto', import.meta.url))
const { Cache } = loadPackageDefinition(
  loadSync(proto, { longs: Number, enums: String, bytes: String, oneofs: true }),
).ringcache.v1

if (address === undefined || method === undefined || Cache.service[method] === undefined) {
  console.error("usage: node examples/unary-call.mjs HOST:PORT METHOD ['{JSON}']")
  console.error(`methods: ${Object.keys(Cache.service).join(', ')}`)
  process.exit(1)
}

const stub = new Cache(address, credentials.createInsecure())
stub[method](JSON.parse(request), { deadline: Date.now() + 5000 }, (error, reply) => {
  stub.close()
  if (error === null) {
    console.log(JSON.stringify(reply, null, 2))
    return
  }
  console.error(`${error.metadata.get('ringcache-code')[0] ?? error.code}: ${error.details}`)
  process.exitCode = 2
})
