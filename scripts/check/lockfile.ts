/**
 * Makes sure that `npm ci` works on every platform. npm leaves a package for another platform out of package-lock.json
 * when the registry it asked does not serve it (a mirror of part of the registry), and from then on `npm ci` refuses the
 * file everywhere. An entry without an integrity hash is valid: npm skips it where the platform differs, and looks the
 * package up where it is needed.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface LockEntry {
  version?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

interface Lockfile {
  packages: Record<string, LockEntry>
}

interface Missing {
  readonly name: string
  readonly version: string
  readonly optional: boolean
  readonly neededBy: string
}

const OS: readonly string[] = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const CPU: readonly string[] = [
  'arm',
  'arm64',
  'ia32',
  'loong64',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
]

/** What is wrong with package-lock.json in `root`, one line each. */
export function lockfileProblems(root: string): string[] {
  return missingPackages(read(root)).map(
    ({ name, neededBy }) =>
      `package-lock.json lacks ${name}, which ${neededBy} names, so that npm ci fails: run \`npm run lockfile\``,
  )
}

/** Adds an entry for each optional package that is missing. Returns their names. */
export function completeLockfile(root: string): string[] {
  const lock = read(root)
  const missing = missingPackages(lock).filter(({ optional }) => optional)
  for (const { name, version, neededBy } of missing) {
    lock.packages[`node_modules/${name}`] = {
      // Such packages are asked for by an exact version; should it be a range, its lower end is right.
      version: version.replace(/^[^~]/, ''),
      ...platformOf(name),
      ...(lock.packages[neededBy]?.dev === true ? { dev: true } : {}),
      optional: true,
    }
  }
  const self = lock.packages['']
  const sorted = Object.entries(lock.packages).filter(([path]) => path !== '')
  sorted.sort(([a], [b]) => a.localeCompare(b, 'en'))
  lock.packages = { ...(self === undefined ? {} : { '': self }), ...Object.fromEntries(sorted) }
  if (missing.length > 0) writeFileSync(join(root, 'package-lock.json'), `${JSON.stringify(lock, null, 2)}\n`)
  return missing.map(({ name }) => name)
}

function read(root: string): Lockfile {
  return JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lockfile
}

function missingPackages({ packages }: Lockfile): Missing[] {
  const missing = new Map<string, Missing>()
  for (const [path, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries({ ...entry.dependencies, ...entry.optionalDependencies })) {
      if (isFound(packages, path, name)) continue
      const optional = entry.optionalDependencies?.[name] !== undefined
      missing.set(name, { name, version, optional, neededBy: path })
    }
  }
  return [...missing.values()]
}

/** Whether Node.js would find `name` from the package at `path`: beside it or beside what it lies in. */
function isFound(packages: Lockfile['packages'], path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf('/node_modules/'), 0))) {
    if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true
    if (at === '') return false
  }
}

/** The platform that the name of a package tells: `…-linux-arm64-musl`. */
function platformOf(name: string): Pick<LockEntry, 'os' | 'cpu' | 'libc'> {
  const parts = name.split(/[-/]/)
  const cpu = CPU.filter((one) => parts.includes(one))
  const os = OS.filter((one) => parts.includes(one))
  const musl = parts.some((part) => part.startsWith('musl'))
  return {
    ...(cpu.length === 0 ? {} : { cpu }),
    ...(musl ? { libc: ['musl'] } : {}),
    ...(os.length === 0 ? {} : { os }),
  }
}
