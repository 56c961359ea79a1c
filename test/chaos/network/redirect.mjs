/**
 * Loaded into nodes and clients of a chaos run before their own code (`node --import`): connections to the address of a node
 * are made to the proxy that stands between this process and that node. Everything else is left alone, so that the addresses
 * in configurations, topologies and messages stay the real ones.
 *
 * RINGCACHE_CHAOS_ROUTES: `{"127.0.0.1:8100": 8121, …}`, address of a node → port of the proxy on loopback.
 */

import { Socket } from 'node:net'

const routes = new Map(Object.entries(JSON.parse(process.env.RINGCACHE_CHAOS_ROUTES ?? '{}')))
const connect = Socket.prototype.connect

Socket.prototype.connect = function redirected(...args) {
  // net.connect() passes its arguments on as one array.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0]
  if (typeof options === 'object' && options !== null && options.port !== undefined) {
    const port = routes.get(`${options.host ?? '127.0.0.1'}:${options.port}`)
    if (port !== undefined) options.port = port
  }
  return connect.apply(this, args)
}
