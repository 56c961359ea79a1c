/** The built command as a process, as operators run it. */

import { type ChildProcess, execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

/** @param addresses nodes to ask, in this order */
export function runCommand(addresses: readonly string[], ...args: readonly string[]): Running {
  let child: ChildProcess | undefined
  const ended = new Promise<Ended>((resolve) => {
    const all = [MAIN, ...args, '-a', addresses.join()]
    child = execFile(process.execPath, all, { timeout: 240_000 }, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1
      resolve({ code, stdout, stderr })
    })
  })
  return { child: child as ChildProcess, ended }
}

/** @throws when it does not exit with 0 */
export async function resultOf<T>(addresses: readonly string[], ...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await runCommand(addresses, ...args, '-o', 'json').ended
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as T
}
