/**
 * `npm start`: prepares the checkout, runs the nodes of cluster.yaml as children of this process and shows their state until
 * Ctrl-C, which stops them in order. On a terminal the table is redrawn in place; elsewhere a line is printed per change.
 *
 * `-- --nodes N` and `-- --config FILE` as in scripts/cluster.mjs. Once all nodes serve, a line begins with `ready`.
 * Exit codes: 0 stopped by the user, 1 wrong usage, configuration or build, 3 a node does not serve.
 */

import './node-version.cjs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { PrepareError, prepare, root } from './prepare.mjs'

const SERVE_TIMEOUT_MS = 30_000
const REDRAW_MS = 1000

/** Imported after `prepare`: they need what it installs. */
const launcher = {}
const children = []
let stopping

try {
  await main()
} catch (error) {
  await stop()
  if (!(error instanceof PrepareError) && error.exitCode === undefined) throw error
  console.error(error.message)
  process.exit(error.exitCode ?? 1)
}

async function main() {
  const options = readOptions()
  prepare()
  Object.assign(
    launcher,
    await import('./launcher/cluster-files.mjs'),
    await import('./launcher/node-process.mjs'),
    await import('./launcher/table.mjs'),
  )
  const cluster = await launcher.loadCluster(options)
  await refuseSecond(cluster)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => finish())
  for (const node of cluster.nodes) await launcher.checkPort(cluster, node)
  for (const node of cluster.nodes) {
    console.log(`starting ${node.id} at ${node.address} …`)
    children.push({ node, process: await launcher.startNode(cluster, node, { tied: true }) })
  }
  await launcher.waitUntilServing(cluster.nodes, SERVE_TIMEOUT_MS)
  if (stopping !== undefined) return
  welcome(cluster)
  await watch(cluster)
}

function readOptions() {
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' }, nodes: { type: 'string' } } })
    const nodes = values.nodes === undefined ? undefined : Number(values.nodes)
    if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 1 && nodes <= 100)) {
      throw new Error(`--nodes is ${values.nodes}; give a whole number from 1 to 100`)
    }
    return { ...(values.config && { config: values.config }), ...(nodes && { nodes }) }
  } catch (error) {
    throw new PrepareError(`${error.message}\nusage: npm start -- [--nodes N] [--config FILE]`)
  }
}

async function refuseSecond(cluster) {
  const running = cluster.nodes.filter((node) => launcher.pidOf(node) !== undefined)
  if (running.length === 0) return
  const list = running.map((node) => `${node.id} (pid ${launcher.pidOf(node)})`).join(', ')
  throw new launcher.LauncherError(
    `This cluster is already running: ${list}.\nUse it, or stop it with \`node scripts/cluster.mjs down\`.`,
  )
}

function welcome(cluster) {
  const addresses = cluster.nodes.map(({ address }) => address)
  const log = path.relative(root, path.join(cluster.folder, '*.log'))
  console.log(`
ready  ${addresses.length} nodes of ${cluster.name} serve at ${addresses.join(', ')}

Try it: put this into try.mjs in this folder and run \`node try.mjs\`.

  import { connect } from 'ringcache'

  const cache = await connect({ nodes: ['${addresses[0]}'] })
  await cache.set('user:1', { name: 'Ada', since: new Date() }, { ttl: '10m' })
  console.log(await cache.get('user:1'))
  console.log(await cache.increment('visits'))
  await cache.close()

Or from a shell, on any node, with grpcurl:

  grpcurl -plaintext -d '{"key": "visits"}' ${addresses.at(-1)} ringcache.v1.Cache/Get

Logs: ${log} · kill a node: node scripts/cluster.mjs kill ${cluster.nodes.at(-1).id} · stop: Ctrl-C
`)
}

/** Until everything is stopped. */
async function watch(cluster) {
  const live = process.stdout.isTTY === true
  let drawn = 0
  const before = new Map()
  while (stopping === undefined) {
    const { rows } = await launcher.statusOf(cluster)
    if (stopping !== undefined) break
    if (live) {
      const lines = launcher.renderTable(rows, true)
      process.stdout.write(`${drawn > 0 ? `\u001b[${drawn}A` : ''}\u001b[J${lines.join('\n')}\n`)
      drawn = lines.length
    } else {
      for (const { node, state } of rows) {
        if (before.has(node.id) && before.get(node.id) !== state) console.log(`${node.id} is ${state}`)
        before.set(node.id, state)
      }
    }
    await launcher.pause(REDRAW_MS)
  }
  await stopping
}

function finish() {
  if (stopping !== undefined) return
  console.log('\nstopping …')
  stop().then(() => {
    console.log('stopped')
    process.exit(0)
  })
}

function stop() {
  stopping ??= Promise.all(children.map(({ node }) => launcher.stopNode(node)))
  return stopping
}
