/**
 * The launcher: runs the nodes of a configuration as processes of this machine, in the background.
 *
 *   node scripts/cluster.mjs up | down | status | logs [node] | kill <node> | restart <node> | restart --all
 *
 * Options everywhere: `--config FILE` (default cluster.yaml) and `--nodes N`, another number of nodes than the file has.
 * Exit codes: 0 done, 1 wrong usage or configuration, 3 a node does not serve.
 */

import './node-version.cjs'
import fs from 'node:fs'
import { Command } from 'commander'
import { LauncherError, loadCluster } from './launcher/cluster-files.mjs'
import {
  checkPort,
  killNode,
  lastLines,
  startNode,
  stopNode,
  waitUntilServing,
} from './launcher/node-process.mjs'
import { renderTable, statusOf } from './launcher/table.mjs'

const SERVE_TIMEOUT_MS = 30_000

const program = new Command('cluster')
  .description('Runs the nodes of a cluster as background processes of this machine.')
  .option('-c, --config <file>', 'configuration of the cluster (default: cluster.yaml)')
  .option('-n, --nodes <count>', 'run this many nodes, on consecutive ports', wholeNumber)
  .configureHelp({ showGlobalOptions: true })

command('up', 'start the nodes that are not running, and wait until all serve').action(async () => {
  const cluster = await load()
  const { rows } = await statusOf(cluster)
  const stopped = rows.filter(({ state }) => state === 'stopped').map(({ node }) => node)
  await start(cluster, stopped)
  await printStatus(cluster)
})

command('down', 'stop all nodes').action(async () => {
  const cluster = await load()
  const stopped = await Promise.all(cluster.nodes.map(stopNode))
  console.log(`${stopped.filter(Boolean).length} nodes stopped`)
})

command('status', 'show every node; exit code 3 when one does not serve').action(async () => {
  process.exitCode = (await printStatus(await load())) ? 0 : 3
})

command('logs [node]', 'show the end of the logs')
  .option('-l, --lines <count>', 'lines per node', wholeNumber, 20)
  .option('-f, --follow', 'go on with what is added')
  .action(async (id, { lines, follow }) => {
    const cluster = await load()
    const nodes = id === undefined ? cluster.nodes : [find(cluster, id)]
    for (const node of nodes) print(node, nodes.length > 1, lastLines(node, lines))
    if (follow) for (const node of nodes) followLog(node, nodes.length > 1)
  })

command('kill <node>', 'end a node at once, as a crash would').action(async (id) => {
  await killNode(find(await load(), id))
  console.log(`${id} killed`)
})

command('restart [node]', 'stop a node in order and start it again')
  .option('-a, --all', 'restart all nodes at once; what they held is lost')
  .action(async (id, { all }) => {
    const cluster = await load()
    if ((id === undefined) === (all === undefined)) throw new LauncherError('Name one node, or give --all.')
    const nodes = all ? cluster.nodes : [find(cluster, id)]
    await Promise.all(nodes.map(stopNode))
    await start(cluster, nodes)
    await printStatus(cluster)
  })

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof LauncherError)) throw error
  console.error(error.message)
  process.exitCode = error.exitCode
}

function command(usage, description) {
  return program.command(usage).description(description)
}

function load() {
  return loadCluster(program.opts())
}

/** Starts them all or none. */
async function start(cluster, nodes) {
  const started = []
  try {
    for (const node of nodes) await checkPort(cluster, node)
    for (const node of nodes) {
      await startNode(cluster, node)
      started.push(node)
    }
    await waitUntilServing(nodes, SERVE_TIMEOUT_MS)
  } catch (error) {
    await Promise.all(started.map(stopNode))
    throw error
  }
}

async function printStatus(cluster) {
  const { rows, allServe } = await statusOf(cluster)
  for (const line of renderTable(rows, process.stdout.isTTY === true)) console.log(line)
  return allServe
}

function find(cluster, id) {
  const node = cluster.nodes.find((candidate) => candidate.id === id)
  if (node !== undefined) return node
  throw new LauncherError(
    `There is no node ${id}; there are ${cluster.nodes.map((each) => each.id).join(', ')}.`,
  )
}

function print(node, named, text) {
  for (const line of text.split('\n')) console.log(named ? `${node.id} | ${line}` : line)
}

function followLog(node, named) {
  let at = fs.existsSync(node.logFile) ? fs.statSync(node.logFile).size : 0
  fs.watchFile(node.logFile, { interval: 200 }, ({ size }) => {
    if (size < at) at = 0
    if (size === at) return
    const bytes = Buffer.alloc(size - at)
    const file = fs.openSync(node.logFile, 'r')
    fs.readSync(file, bytes, 0, bytes.length, at)
    fs.closeSync(file)
    at = size
    print(node, named, bytes.toString().trimEnd())
  })
}

function wholeNumber(text) {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > 100) {
    throw new LauncherError(`${text} is no whole number from 1 to 100.`)
  }
  return count
}
