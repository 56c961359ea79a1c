/**
 * scripts/prepare.mjs installs and builds when something has changed, and only then. Played in a folder of its own, with
 * stand-ins for npm and tsc that note each call.
 */

import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../../..')
const LOCK = {
  packages: {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '2.0.0', optional: true },
  },
}
const NPM = `
  const fs = require('node:fs')
  fs.appendFileSync('calls.log', 'npm ' + process.argv[2] + '\\n')
  if (fs.existsSync('npm-fails')) process.exit(1)
  fs.cpSync('package-lock.json', 'node_modules/.package-lock.json')
`
const TSC = `
  const fs = require('node:fs')
  fs.appendFileSync('calls.log', 'tsc\\n')
  fs.mkdirSync('dist', { recursive: true })
  for (const name of fs.readdirSync('src')) fs.writeFileSync('dist/' + name.replace('.ts', '.js'), '')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
  process.exit(fs.existsSync('tsc-fails') ? 2 : 0)
`

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringcache-prepare-'))
  for (const name of ['scripts/prepare.mjs', 'scripts/node-version.cjs'])
    cpSync(join(root, name), join(folder, name))
  for (const name of ['src', 'npm', 'node_modules/typescript/bin'])
    mkdirSync(join(folder, name), { recursive: true })
  write('package.json', '{}')
  write('tsconfig.json', '{}')
  write('tsconfig.build.json', '{}')
  write('package-lock.json', JSON.stringify(LOCK))
  write('src/a.ts', '')
  write('npm/npm-cli.js', NPM)
  write('node_modules/typescript/bin/tsc', TSC)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text)
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  npm_execpath: join(folder, 'npm/npm-cli.js'),
})

function prepare(...args: string[]): { status: number | null; output: string } {
  const result = spawnSync(process.execPath, ['scripts/prepare.mjs', ...args], {
    cwd: folder,
    env: environment(),
    encoding: 'utf8',
  })
  return { status: result.status, output: result.stderr }
}

/** What npm and tsc were asked since the last time. */
function calls(): string[] {
  const log = join(folder, 'calls.log')
  const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  rmSync(log, { force: true })
  return lines
}

describe('preparing a checkout', () => {
  it('installs and builds once, then finds nothing to do', () => {
    expect(prepare().status).toBe(0)
    expect(calls()).toEqual(['npm ci', 'tsc'])
    expect(prepare()).toEqual({ status: 0, output: '' })
    expect(calls()).toEqual([])
  })

  it('installs again when a package that is needed here changes in the lockfile', () => {
    prepare()
    calls()
    write(
      'package-lock.json',
      JSON.stringify({ packages: { ...LOCK.packages, 'node_modules/a': { version: '1.0.1' } } }),
    )
    prepare('--install-only')
    expect(calls()).toEqual(['npm ci'])
  })

  it('does not miss optional packages, which may be for other platforms', () => {
    const { 'node_modules/b': _, ...needed } = LOCK.packages
    write('node_modules/.package-lock.json', JSON.stringify({ packages: needed }))
    prepare('--install-only')
    expect(calls()).toEqual([])
  })

  it('builds again when a source changes, and leaves nothing of a source that went', () => {
    prepare()
    calls()
    write('src/b.ts', 'x')
    prepare()
    expect(calls()).toEqual(['tsc'])
    expect(existsSync(join(folder, 'dist/b.js'))).toBe(true)
    rmSync(join(folder, 'src/b.ts'))
    prepare()
    expect(calls()).toEqual(['tsc'])
    expect(existsSync(join(folder, 'dist/b.js'))).toBe(false)
  })

  it('says what to do when npm or the compiler fails, and tries again the next time', () => {
    write('npm-fails', '')
    expect(prepare()).toMatchObject({ status: 1, output: expect.stringContaining('npm ci failed') })
    rmSync(join(folder, 'npm-fails'))
    write('tsc-fails', '')
    expect(prepare()).toMatchObject({ status: 1, output: expect.stringContaining('The build failed') })
    rmSync(join(folder, 'tsc-fails'))
    calls()
    expect(prepare().status).toBe(0)
    expect(calls()).toEqual(['tsc'])
  })

  it('is done by one of several that start at once; the others wait for it', async () => {
    const statuses = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((done) => {
            spawn(process.execPath, ['scripts/prepare.mjs'], {
              cwd: folder,
              env: environment(),
              stdio: 'ignore',
            }).on('exit', done)
          }),
      ),
    )
    expect(statuses).toEqual([0, 0, 0])
    expect(calls()).toEqual(['npm ci', 'tsc'])
  })

  it('takes over the lock of a process that is gone', () => {
    const gone = spawnSync(process.execPath, ['-e', ''])
    mkdirSync(join(folder, '.ringcache'))
    write('.ringcache/prepare.lock', String(gone.pid))
    expect(prepare().status).toBe(0)
    expect(existsSync(join(folder, '.ringcache/prepare.lock'))).toBe(false)
  })
})

describe('a Node.js that is too old', () => {
  const withVersion = (version: string): { status: number | null; stderr: string } => {
    const code = `Object.defineProperty(process.versions, 'node', { value: '${version}' }); require('./scripts/node-version.cjs')`
    return spawnSync(process.execPath, ['-e', code], { cwd: root, encoding: 'utf8' })
  }

  it.each(['18.20.4', '20.18.3', '0.12.18'])('%s is told what is needed', (version) => {
    const { status, stderr } = withVersion(version)
    expect(status).toBe(1)
    expect(stderr).toContain('ringcache needs Node.js 20.19 or newer')
  })

  it.each(['20.19.0', '22.1.0', '24.0.0'])('does not include %s', (version) => {
    expect(withVersion(version)).toMatchObject({ status: 0, stderr: '' })
  })
})
