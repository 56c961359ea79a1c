/**
 * The client libraries of the other servers live in a package of their own (bench/peers/package.json), so that neither
 * ringcache nor its development tools depend on them. They are installed when they are first needed and loaded by name
 * at run time; adapters describe the few members they use themselves.
 */

import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('.', import.meta.url))
const load: (name: string) => unknown = createRequire(new URL('./package.json', import.meta.url))

export const INSTALL_COMMAND = 'npm ci --prefix bench/peers'

export function libraryVersion(name: string): string | undefined {
  const manifest = `${folder}node_modules/${name}/package.json`
  if (!existsSync(manifest)) return undefined
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
}

/** The library's exports. The caller says what it uses of them: their own types are not installed when this is checked. */
export function loadLibrary<T>(name: string): T {
  return load(name) as T
}

/** @returns undefined when it worked, else why not, in one line. */
export async function installLibraries(): Promise<string | undefined> {
  try {
    await promisify(execFile)('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], {
      timeout: 180_000,
    })
    return undefined
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return text.split('\n').find((line) => line.includes('npm error')) ?? text.split('\n')[0] ?? text
  }
}
