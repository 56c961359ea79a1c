/** The image: its own build steps give a folder in which a node runs, healthy by its own health check. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { parseClusterConfig } from '../../src/config/load.ts'
import { buildStages, type Stage } from '../support/dockerfile.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const PORT = 7590

describe('Dockerfile', () => {
  let folder: string
  let image: Stage
  let app: string
  let node: ChildProcess | undefined

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'ringcache-image-'))
    // A clean checkout: the files under version control, and those about to be.
    const context = path.join(folder, 'context')
    const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    for (const file of files.trim().split('\n')) {
      if (/^(src|proto|scripts|docker)\/|^[^/]+$/.test(file))
        cpSync(path.join(ROOT, file), path.join(context, file))
    }
    image = buildStages(context, path.join(folder, 'stages'))
    app = path.join(image.root, 'app')
  }, 300_000)
  afterAll(() => {
    node?.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  it('starts from a pinned release of Node.js and does not run as root', () => {
    expect(image.base).toMatch(/^node:2\d-/)
    expect(image.user).toBe('node')
  })

  it('holds what a node needs and nothing else', () => {
    expect(readdirSync(app).sort()).toEqual(
      ['LICENSE', 'data', 'dist', 'node_modules', 'package.json', 'proto', 'scripts'].sort(),
    )
    const packages = readdirSync(path.join(app, 'node_modules'))
    expect(packages).toEqual(expect.arrayContaining(['pino', 'yaml']))
    for (const name of ['typescript', 'vitest', 'tsx', 'knip']) expect(packages).not.toContain(name)
  })

  it('runs a node that its health check finds healthy, and that SIGTERM stops in order', async () => {
    const config = path.join(folder, 'cluster.yaml')
    writeFileSync(config, `nodes:\n  - { id: node1, address: '127.0.0.1:${PORT}' }\n`)
    const [command = '', ...args] = image.entrypoint
    expect(image.cmd).toEqual(['start', '--config', '/etc/ringcache/cluster.yaml', '--node', 'node1'])
    const cmd = image.cmd.map((word) => (word === '/etc/ringcache/cluster.yaml' ? config : word))
    const env = { ...process.env, ...image.env, RINGCACHE_ADDRESS: `127.0.0.1:${PORT}` }
    const healthy = (): number => {
      try {
        execFileSync('sh', ['-c', image.healthcheck], { cwd: app, env, stdio: 'pipe' })
        return 0
      } catch (error) {
        return (error as { status: number }).status
      }
    }
    expect(healthy()).toBe(2)
    node = spawn(command, [...args, ...cmd], { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] })
    const giveUpAt = Date.now() + 20_000
    while (healthy() !== 0) expect(Date.now()).toBeLessThan(giveUpAt)
    const exit = new Promise((resolve) => node?.once('exit', (code) => resolve(code)))
    node.kill('SIGTERM')
    expect(await exit).toBe(0)
    expect(healthy()).toBe(2)
  })
})

describe('compose.yaml', () => {
  it('starts the nodes of its configuration, each under its own name', () => {
    const compose = parse(readFileSync(path.join(ROOT, 'compose.yaml'), 'utf8'), { merge: true })
    const config = parseClusterConfig(
      readFileSync(path.join(ROOT, 'docker/cluster.yaml'), 'utf8'),
      'cluster.yaml',
    )
    expect(config.insecure).toBe(true)
    expect(Object.keys(compose.services)).toEqual(config.nodes.map(({ id }) => id))
    for (const { id, host, port } of config.nodes) {
      const service = compose.services[id]
      expect(service.hostname).toBe(host)
      expect(service.command.slice(-2)).toEqual(['--node', id])
      expect(service.volumes[0]).toContain(service.command[2])
      // Published for this machine only, since nothing is encrypted.
      expect(service.ports).toEqual([expect.stringMatching(new RegExp(`^127\\.0\\.0\\.1:74\\d\\d:${port}$`))])
    }
  })
})
