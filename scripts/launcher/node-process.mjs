/**
 * One node as a process of this machine: start, stop, kill, state. A pid file says which process it is; before anything is
 * done to a process, its command line is compared, since pids are used again.
 */

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { health } from '../healthcheck.mjs'
import { root } from '../prepare.mjs'
import { LauncherError } from './cluster-files.mjs'

const MAIN = path.join(root, 'dist', 'cli', 'main.js')
const STOP_TIMEOUT_MS = 10_000
const POLL_MS = 50

/**
 * Starts the node's process. With `tied`, it ends when this process does.
 * @param {import('./cluster-files.mjs').Cluster} cluster
 * @param {import('./cluster-files.mjs').LaunchedNode} node
 */
export async function startNode(cluster, node, { tied = false } = {}) {
  if (!fs.existsSync(MAIN)) {
    throw new LauncherError(`${path.relative(process.cwd(), MAIN)} is missing: run \`npm run build\` first.`)
  }
  const running = pidOf(node)
  if (running !== undefined) throw new LauncherError(`${node.id} is already running (pid ${running}).`)
  await checkPort(cluster, node)
  fs.rmSync(node.logFile, { force: true })
  fs.mkdirSync(path.dirname(node.logFile), { recursive: true })
  const log = fs.openSync(node.logFile, 'a')
  const command = [MAIN, 'start', '--config', cluster.configFile, '--node', node.id]
  const child = spawn(process.execPath, command, {
    cwd: path.dirname(cluster.configFile),
    // The channel of a tied child closes when its parent ends, however it ends. A process group of its own keeps
    // Ctrl-C from reaching it before the launcher can stop all nodes in order.
    stdio: ['ignore', log, log, ...(tied ? ['ipc'] : [])],
    detached: true,
  })
  fs.closeSync(log)
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error) =>
      reject(new LauncherError(`${node.id} could not be started: ${error.message}`)),
    )
  })
  fs.writeFileSync(node.pidFile, `${child.pid}\n`)
  if (!tied) child.unref()
  return child
}

/** Waits until every node answers. @throws {LauncherError} naming the node that ended or did not get there in time. */
export async function waitUntilServing(nodes, timeoutMs, onState = () => {}) {
  const giveUpAt = Date.now() + timeoutMs
  const waiting = new Set(nodes)
  while (waiting.size > 0) {
    await Promise.all(
      [...waiting].map(async (node) => {
        const state = await nodeState(node)
        onState(node, state)
        if (state === 'serving') waiting.delete(node)
        else if (state === 'stopped') {
          throw new LauncherError(`${node.id} ended while it started:\n${lastLines(node, 5)}`, 3)
        }
      }),
    )
    if (waiting.size === 0) return
    if (Date.now() > giveUpAt) {
      const names = [...waiting].map(({ id }) => id).join(', ')
      throw new LauncherError(
        `${names} did not come to serve within ${timeoutMs / 1000} s. See \`node scripts/cluster.mjs logs\`.`,
        3,
      )
    }
    await pause(POLL_MS)
  }
}

/**
 * `joining`: it answers and passes calls on, but the cluster has not taken it in (or back) yet. `foreign`: it answers, but
 * was started by other means.
 * @returns {Promise<'serving' | 'joining' | 'starting' | 'stopped' | 'foreign'>}
 */
export async function nodeState(node) {
  const [answers, replicas] = await Promise.all([
    health(node.address),
    health(node.address, 1000, 'ringcache.replicas'),
  ])
  if (pidOf(node) === undefined) return answers === 'unreachable' ? 'stopped' : 'foreign'
  if (answers !== 'serving') return 'starting'
  return replicas === 'serving' ? 'serving' : 'joining'
}

/** Asks the node to stop in order and waits; kills it when it takes too long. @returns whether it was running */
export async function stopNode(node) {
  const pid = pidOf(node)
  if (pid === undefined) {
    fs.rmSync(node.pidFile, { force: true })
    return false
  }
  signal(pid, 'SIGTERM')
  const giveUpAt = Date.now() + STOP_TIMEOUT_MS
  while (pidOf(node) !== undefined) {
    if (Date.now() > giveUpAt) signal(pid, 'SIGKILL')
    await pause(POLL_MS)
  }
  fs.rmSync(node.pidFile, { force: true })
  return true
}

/** SIGKILL, as a crash would. @throws {LauncherError} when it is not running */
export async function killNode(node) {
  const pid = pidOf(node)
  if (pid === undefined) throw new LauncherError(`${node.id} is not running.`)
  signal(pid, 'SIGKILL')
  while (pidOf(node) !== undefined) await pause(10)
  fs.rmSync(node.pidFile, { force: true })
}

/** The node's process, if it runs. */
export function pidOf(node) {
  let text
  try {
    text = fs.readFileSync(node.pidFile, 'utf8')
  } catch {
    return undefined
  }
  const pid = Number(text)
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  const command = commandOf(pid)
  return command?.includes(MAIN) && command.includes(`--node ${node.id}`) ? pid : undefined
}

/** Memory in bytes and age in seconds, as the operating system says. */
export function processFigures(pid) {
  const result = spawnSync('ps', ['-o', 'rss=,etime=', '-p', String(pid)], { encoding: 'utf8' })
  const [rss, elapsed] = (result.stdout ?? '').trim().split(/\s+/)
  return rss === undefined || elapsed === undefined ? undefined : { rssBytes: Number(rss) * 1024, elapsed }
}

/** The end of a node's log. */
export function lastLines(node, count) {
  try {
    const lines = fs.readFileSync(node.logFile, 'utf8').trimEnd().split('\n').slice(-count)
    return lines.join('\n')
  } catch {
    return '(it has no log)'
  }
}

/** @throws {LauncherError} when the node's port is taken */
export async function checkPort(cluster, node) {
  const error = await new Promise((resolve) => {
    const probe = net.createServer()
    probe.once('error', resolve)
    probe.listen(node.port, node.host, () => probe.close(() => resolve(undefined)))
  })
  if (error === undefined) return
  if (error.code !== 'EADDRINUSE')
    throw new LauncherError(`${node.id} cannot listen on ${node.address}: ${error.message}`)
  const file = path.relative(process.cwd(), cluster.configFile)
  throw new LauncherError(
    `Port ${node.port} for ${node.id} is already in use by another process.\n` +
      `Stop that process (\`lsof -i :${node.port}\` names it), or give ${node.id} another address in ${file}.`,
  )
}

function commandOf(pid) {
  try {
    const [state] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)
    if (state === 'Z') return undefined
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    // No /proc here, or no such process.
  }
  if (process.platform === 'linux') return undefined
  const result = spawnSync('ps', ['-o', 'stat=,command=', '-p', String(pid)], { encoding: 'utf8' })
  const line = (result.stdout ?? '').trim()
  return line === '' || line.startsWith('Z') ? undefined : line
}

function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
