/** CPU profiles of this process (for Chrome's developer tools), and what they come to: self time per function. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { basename, dirname } from 'node:path'

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: {
      readonly functionName: string
      readonly url: string
      readonly lineNumber: number
    }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** @returns what ends the profile and writes it to `file`. */
export async function startProfile(file: string): Promise<() => Promise<void>> {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.start')
  return async () => {
    const { profile } = await session.post('Profiler.stop')
    session.disconnect()
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify(profile))
  }
}

/** The `count` functions with the most self time, one per line, as shares of the time the process was not idle. */
export function topFunctions(file: string, count = 25): string[] {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const selfUs = new Map<string, number>()
  let busyUs = 0
  for (const [at, id] of profile.samples.entries()) {
    const name = names.get(id) ?? '(unknown)'
    if (name === '(idle)') continue
    const us = profile.timeDeltas[at] ?? 0
    busyUs += us
    selfUs.set(name, (selfUs.get(name) ?? 0) + us)
  }
  return [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, us]) => `${((100 * us) / busyUs).toFixed(1).padStart(5)} %  ${name}`)
}

function nameOf(frame: CpuProfile['nodes'][number]['callFrame']): string {
  const name = frame.functionName || '(anonymous)'
  return frame.url === '' ? name : `${name}  ${basename(frame.url)}:${frame.lineNumber + 1}`
}
