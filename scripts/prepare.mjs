/**
 * Makes a checkout ready to run: the right Node.js, dependencies as in package-lock.json, dist as in src. Quick when
 * there is nothing to do (two JSON files and the dates of src are read). Uses nothing but Node.js itself, for it runs
 * before `npm ci`.
 *
 * A lock file keeps two of them apart; the second waits for the first and then finds everything done.
 *
 * Run by itself it prepares and exits; `--install-only` leaves the build out.
 */

import './node-version.cjs'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of package.json. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

const stampFile = path.join(root, 'dist', '.build.json')
const lockFolder = path.join(root, '.ringcache')
const lockFile = path.join(lockFolder, 'prepare.lock')
const LOCK_WAIT_MS_MAX = 10 * 60_000
const LOCK_POLL_MS = 200

/** What went wrong, for a person: printed without a stack. */
export class PrepareError extends Error {}

/**
 * Installs and builds as far as needed.
 * @param {{ build?: boolean, log?: (line: string) => void }} [options] `build`: also bring dist up to date (default true).
 * @throws {PrepareError} when npm or the compiler fails; their own output was printed.
 */
export function prepare({ build = true, log = (line) => console.error(line) } = {}) {
  if (!installNeeded() && !(build && buildNeeded())) return
  withLock(log, () => {
    if (installNeeded()) install(log)
    if (build && buildNeeded()) compile(log)
  })
}

/** Whether node_modules differs from package-lock.json in a package this machine needs. */
export function installNeeded() {
  const wanted = readJson(path.join(root, 'package-lock.json'))?.packages
  const installed = readJson(path.join(root, 'node_modules', '.package-lock.json'))?.packages
  if (wanted === undefined) return installed === undefined
  if (installed === undefined) return true
  return Object.entries(wanted).some(([where, entry]) => {
    if (where === '') return false
    const found = installed[where]
    // Optional packages are the ones for other platforms.
    if (found === undefined) return entry.optional !== true
    return found.version !== entry.version || found.integrity !== entry.integrity
  })
}

function install(log) {
  log('Installing dependencies (npm ci) …')
  // npm tells its scripts where it lies; by itself it is looked up in the path.
  const npm = process.env.npm_execpath
  const useExecpath = npm !== undefined && /npm-cli\.c?js$/.test(npm)
  const command = useExecpath ? process.execPath : 'npm'
  const flags = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const result = spawnSync(command, useExecpath ? [npm, ...flags] : flags, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: !useExecpath && process.platform === 'win32',
  })
  if (result.error !== undefined) {
    throw new PrepareError(
      `npm could not be started (${result.error.message}). Install npm, or put it into the PATH.`,
    )
  }
  if (result.status !== 0) {
    throw new PrepareError(
      'npm ci failed; its output is above. Check the connection to the npm registry, then try again. ' +
        'If it says that package.json and package-lock.json disagree, run `npm install`.',
    )
  }
}

function buildNeeded() {
  return readJson(stampFile)?.sources !== sources().digest
}

function compile(log) {
  log('Building (tsc) …')
  const before = readJson(stampFile)
  const { digest, files } = sources()
  // tsc leaves the output of a deleted source behind.
  if (before?.files !== files) fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true })
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const result = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (result.status !== 0) throw new PrepareError('The build failed; the errors of tsc are above.')
  fs.writeFileSync(stampFile, `${JSON.stringify({ sources: digest, files })}\n`)
}

/** What dist is made from: `files` changes when a source comes or goes, `digest` also when one changes. */
function sources() {
  const names = ['tsconfig.json', 'tsconfig.build.json', 'package.json', 'package-lock.json']
  for (const name of fs.readdirSync(path.join(root, 'src'), { recursive: true })) {
    if (name.endsWith('.ts')) names.push(path.join('src', name))
  }
  names.sort()
  const digest = createHash('sha256')
  for (const name of names) {
    const { size, mtimeMs } = fs.statSync(path.join(root, name))
    digest.update(`${name}\0${size}\0${mtimeMs}\0`)
  }
  return { digest: digest.digest('hex'), files: createHash('sha256').update(names.join('\0')).digest('hex') }
}

function readJson(file) {
  let text
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  }
  try {
    return JSON.parse(text)
  } catch {
    // Half-written by a process that was killed: as good as missing.
    return undefined
  }
}

function withLock(log, work) {
  fs.mkdirSync(lockFolder, { recursive: true })
  const giveUpAt = Date.now() + LOCK_WAIT_MS_MAX
  for (let waiting = false; !takeLock(); ) {
    const owner = lockOwner()
    if (owner !== undefined && !isAlive(owner)) {
      dropDeadLock(owner)
      continue
    }
    if (Date.now() > giveUpAt) {
      throw new PrepareError(
        `Another process (pid ${owner}) has been preparing this checkout for over ten minutes. ` +
          `End it, or remove ${path.relative(process.cwd(), lockFile)} if it is no part of this project.`,
      )
    }
    if (!waiting) log(`Waiting for process ${owner ?? '?'}, which is preparing this checkout …`)
    waiting = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS)
  }
  try {
    work()
  } finally {
    fs.rmSync(lockFile, { force: true })
  }
}

/** The lock appears with its content in one step: a link to a finished file. */
function takeLock() {
  const draft = `${lockFile}.${process.pid}`
  fs.writeFileSync(draft, String(process.pid))
  try {
    fs.linkSync(draft, lockFile)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    fs.rmSync(draft, { force: true })
  }
}

function lockOwner() {
  try {
    return Number(fs.readFileSync(lockFile, 'utf8'))
  } catch {
    return undefined
  }
}

/** Moves the lock aside first, so that of two who find it dead only one takes it away. */
function dropDeadLock(owner) {
  const aside = `${lockFile}.dead.${process.pid}`
  try {
    fs.renameSync(lockFile, aside)
  } catch {
    return
  }
  const moved = Number(fs.readFileSync(aside, 'utf8'))
  // Somebody had taken it anew in between: give it back.
  if (moved !== owner) fs.renameSync(aside, lockFile)
  else fs.rmSync(aside, { force: true })
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Runs `main`, turning a PrepareError into its message and exit code 1. */
export function runScript(main) {
  try {
    main()
  } catch (error) {
    if (!(error instanceof PrepareError)) throw error
    console.error(error.message)
    process.exit(1)
  }
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  runScript(() => prepare({ build: !process.argv.includes('--install-only') }))
}
