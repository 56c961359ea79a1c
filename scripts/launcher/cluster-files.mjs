/**
 * Where the launcher finds and keeps things: the configuration, and beside it the folder `.ringcache` with a pid file and a log
 * per node.
 */

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Document, parseDocument } from 'yaml'
import { root } from '../prepare.mjs'

/** Something the user can put right: printed without a stack, with this exit code. */
export class LauncherError extends Error {
  constructor(message, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/**
 * @typedef {{ id: string, address: string, host: string, port: number, pidFile: string, logFile: string }} LaunchedNode
 * @typedef {{ name: string, configFile: string, folder: string, nodes: LaunchedNode[] }} Cluster
 */

/**
 * Loads the configuration, or derives one with another number of nodes from it.
 * @param {{ config?: string, nodes?: number }} options
 * @returns {Promise<Cluster>}
 */
export async function loadCluster({ config = path.join(root, 'cluster.yaml'), nodes } = {}) {
  const { loadClusterConfig } = await importBuilt('config/load.js')
  const original = path.resolve(config)
  const folder = path.join(path.dirname(original), '.ringcache')
  try {
    let loaded = await loadClusterConfig(original)
    let configFile = original
    if (nodes !== undefined && nodes !== loaded.nodes.length) {
      configFile = deriveConfig(original, folder, nodes, loaded.nodes)
      loaded = await loadClusterConfig(configFile)
    }
    return {
      name: loaded.name,
      configFile,
      folder,
      nodes: loaded.nodes.map(({ id, address, host, port }) => ({
        id,
        address,
        host,
        port,
        pidFile: path.join(folder, `${id}.pid`),
        logFile: path.join(folder, `${id}.log`),
      })),
    }
  } catch (error) {
    if (error?.code === 'CONFIGURATION') throw new LauncherError(error.message)
    throw error
  }
}

/** A module of dist. */
export async function importBuilt(name) {
  const file = path.join(root, 'dist', name)
  if (!fs.existsSync(file)) {
    throw new LauncherError(`${path.relative(process.cwd(), file)} is missing: run \`npm run build\` first.`)
  }
  return import(pathToFileURL(file).href)
}

/** Writes the same configuration with `count` nodes on consecutive ports, from the first node's on. */
function deriveConfig(original, folder, count, known) {
  const first = known[0]
  if (first.port + count - 1 > 65_535) {
    throw new LauncherError(`${count} nodes from port ${first.port} on do not fit below port 65536.`)
  }
  const base = path.dirname(original)
  const document = parseDocument(fs.readFileSync(original, 'utf8'))
  const nodes = Array.from({ length: count }, (_, index) => {
    const id = known[index]?.id ?? freshId(known, index)
    return {
      id,
      address: `${first.host.includes(':') ? `[${first.host}]` : first.host}:${first.port + index}`,
      zone: known[index]?.zone ?? `zone${index + 1}`,
      dataDir: path.join(base, 'data', `${count}-nodes`, id),
    }
  })
  document.set('nodes', new Document(nodes).contents)
  const factor = document.getIn(['replication', 'factor'])
  if (typeof factor === 'number' && factor > count) document.setIn(['replication', 'factor'], count)
  fs.mkdirSync(folder, { recursive: true })
  const derived = path.join(folder, `${count}-nodes.yaml`)
  fs.writeFileSync(derived, `# Derived from ${path.basename(original)} for ${count} nodes.\n${document}`)
  return derived
}

function freshId(known, index) {
  for (let number = index + 1; ; number++) {
    const id = `node${number}`
    if (!known.some((node) => node.id === id)) return id
  }
}
