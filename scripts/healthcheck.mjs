/**
 * Asks a node whether it serves, through the standard gRPC health service. By itself it is the health check of a
 * container: `node scripts/healthcheck.mjs HOST:PORT` exits with 0 when the node serves, else with 3 (it answers but
 * does not serve) or 2 (it does not answer).
 */

import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Client, credentials, Metadata } from '@grpc/grpc-js'

const METHOD = '/grpc.health.v1.Health/Check'
/** HealthCheckResponse { status: SERVING }. */
const SERVING = Buffer.from([0x08, 0x01])

/**
 * @param {string} [service] a name the node's health service knows; default: the node as a whole
 * @returns {Promise<'serving' | 'starting' | 'unreachable'>}
 */
export function health(address, timeoutMs = 1000, service = '') {
  const name = Buffer.from(service)
  // HealthCheckRequest { service: name }
  const request = Buffer.concat([Buffer.from([0x0a, name.length]), name])
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
  })
  const raw = (bytes) => bytes
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + timeoutMs }
    client.makeUnaryRequest(METHOD, raw, raw, request, new Metadata(), options, (error, reply) => {
      client.close()
      if (error) resolve('unreachable')
      else resolve(SERVING.equals(reply) ? 'serving' : 'starting')
    })
  })
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const address = process.argv[2]
  if (address === undefined) {
    console.error('usage: node scripts/healthcheck.mjs HOST:PORT')
    process.exit(1)
  }
  const state = await health(address, 3000)
  console.log(state)
  process.exit({ serving: 0, starting: 3, unreachable: 2 }[state])
}
