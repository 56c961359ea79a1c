/** The launcher and `npm start`, as a user meets them: real processes, their output and exit codes. */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

const ROOT = path.resolve(import.meta.dirname, '../..')
const FIRST_PORT = 7600

interface Run {
  readonly code: number | null
  readonly output: string
}

describe('launcher', () => {
  let folder: string
  let config: string

  beforeAll(async () => {
    expect((await run('scripts/prepare.mjs')).code).toBe(0)
  }, 120_000)
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'ringcache-launcher-'))
    config = path.join(folder, 'cluster.yaml')
    const nodes = [1, 2, 3].map((n) => `  - { id: node${n}, address: '127.0.0.1:${FIRST_PORT + n}' }`)
    writeFileSync(config, `name: test\nnodes:\n${nodes.join('\n')}\nreplication: { partitions: 64 }\n`)
  })
  afterEach(async () => {
    await cluster('down')
    rmSync(folder, { recursive: true, force: true })
  })

  const cluster = (...args: string[]): Promise<Run> => run('scripts/cluster.mjs', '--config', config, ...args)
  const pidOf = (node: string): number =>
    Number(readFileSync(path.join(folder, '.ringcache', `${node}.pid`), 'utf8'))

  it('brings nodes up and down, kills one, restarts one and all', async () => {
    expect((await cluster('status')).code).toBe(3)
    const up = await cluster('up')
    expect(up).toMatchObject({ code: 0, output: expect.stringMatching(/node1 +127\.0\.0\.1:7601 +serving/) })
    expect((await cluster('status')).code).toBe(0)
    expect((await cluster('logs', 'node2')).output).toContain('"msg":"listening"')
    const first = clusterIdOf(folder)

    const pid = pidOf('node2')
    expect((await cluster('kill', 'node2')).output).toContain('node2 killed')
    await ended([pid])
    const status = await cluster('status')
    expect(status).toMatchObject({
      code: 3,
      output: expect.stringMatching(/node2 +127\.0\.0\.1:7602 +stopped/),
    })
    expect((await cluster('restart', 'node2')).output).toMatch(/node2 .* serving/)

    expect((await cluster('restart', '--all')).output).toMatch(/node2 .* serving/)
    expect(clusterIdOf(folder)).toBe(first)
    const pids = ['node1', 'node2', 'node3'].map(pidOf)
    expect((await cluster('down')).output).toContain('3 nodes stopped')
    await ended(pids)
  })

  it('derives a configuration for another number of nodes', async () => {
    const up = await cluster('up', '--nodes', '5')
    expect(up).toMatchObject({ code: 0, output: expect.stringMatching(/node5 +127\.0\.0\.1:7605 +serving/) })
    expect((await cluster('down', '--nodes', '5')).output).toContain('5 nodes stopped')
  })

  it('names the port that is in use and starts nothing', async () => {
    const blocker = createServer().listen(FIRST_PORT + 2, '127.0.0.1')
    const up = await cluster('up')
    expect(up).toMatchObject({
      code: 1,
      output: expect.stringMatching(/Port 7602 for node2 is already in use.*\n.*another address/),
    })
    expect((await cluster('status')).output).toMatch(/node1 .* stopped/)
    blocker.close()
  })

  it('reports mistakes in the configuration and on the command line', async () => {
    writeFileSync(config, 'nodes:\n  - { id: node1, adress: 127.0.0.1:7601 }\n')
    const mistake = await cluster('up')
    expect(mistake.code).toBe(1)
    expect(mistake.output).toMatch(/cluster\.yaml:2:\d+/)
    expect(mistake.output).not.toContain('    at ')
    expect(await run('scripts/cluster.mjs', '--config', '/no/such.yaml', 'up')).toMatchObject({
      code: 1,
      output: expect.stringContaining("can't be read"),
    })
    expect((await cluster('up', '--nodes', 'many')).code).toBe(1)
    writeFileSync(config, `nodes:\n  - { id: node1, address: '127.0.0.1:${FIRST_PORT + 1}' }\n`)
    expect(await cluster('kill', 'node9')).toMatchObject({
      code: 1,
      output: expect.stringContaining('no node node9'),
    })
  })

  it('refuses a node that the configuration does not have, and an address beyond loopback', async () => {
    const main = 'dist/cli/main.js'
    expect(await run(main, 'start', '--config', config, '--node', 'node9')).toMatchObject({
      code: 1,
      output: expect.stringContaining('it has node1, node2, node3'),
    })
    writeFileSync(config, `nodes:\n  - { id: node1, address: '0.0.0.0:${FIRST_PORT + 1}' }\n`)
    expect(await run(main, 'start', '--config', config, '--node', 'node1')).toMatchObject({
      code: 1,
      output: expect.stringContaining('insecure: true'),
    })
  })

  it('npm start prints a ready line, survives a killed node and stops all on Ctrl-C', async () => {
    const start = new Start(config)
    await start.until(/^ready {2}3 nodes of test serve/m)
    expect(start.output).toContain("connect({ nodes: ['127.0.0.1:7601'] })")
    const pids = ['node1', 'node2', 'node3'].map(pidOf)
    expect(await run('scripts/start.mjs', '--config', config)).toMatchObject({
      code: 1,
      output: expect.stringContaining('already running'),
    })
    await cluster('kill', 'node3')
    await start.until(/node3 is stopped/)
    expect(await start.signal('SIGINT')).toBe(0)
    expect(start.output).toMatch(/stopping …\nstopped\n$/)
    await ended(pids)
  })

  it('npm start takes its nodes along when it is killed', async () => {
    const start = new Start(config)
    await start.until(/^ready/m)
    const pids = ['node1', 'node2', 'node3'].map(pidOf)
    await start.signal('SIGKILL')
    await ended(pids)
  })
})

/** `npm start` under way. */
class Start {
  output = ''
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>

  constructor(config: string) {
    this.#child = spawn(process.execPath, ['scripts/start.mjs', '--config', config], {
      cwd: ROOT,
      stdio: 'pipe',
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (text) => {
        this.output += text
      })
    }
    this.#exit = new Promise((resolve) => this.#child.once('close', resolve))
  }

  async until(pattern: RegExp): Promise<void> {
    const giveUpAt = Date.now() + 30_000
    while (!pattern.test(this.output)) {
      if (Date.now() > giveUpAt) throw new Error(`${pattern} is not in:\n${this.output}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  signal(name: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(name)
    return this.#exit
  }
}

function run(script: string, ...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (text: Buffer): void => {
      output += text
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.once('close', (code) => resolve({ code, output }))
  })
}

function clusterIdOf(folder: string): string | undefined {
  const log = readFileSync(path.join(folder, '.ringcache', 'node1.log'), 'utf8')
  return /"clusterId":"([0-9a-f]{32})"/.exec(log)?.[1]
}

/** Soon: whoever inherits an orphan also has to collect it. */
async function ended(pids: readonly number[]): Promise<void> {
  const giveUpAt = Date.now() + 5000
  while (pids.some(isAlive)) {
    if (Date.now() > giveUpAt) throw new Error(`of ${pids.join(', ')} some are still alive`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
