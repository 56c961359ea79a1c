/** Three ringcache nodes, each a process of its own, every partition on all three (replicationFactor 3). */

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Servers } from '../peer.ts'

export interface RingcacheSettings {
  /** What the default region holds in the whole cluster. Default: more than the bench stores. */
  readonly regionBytes?: number
}

const entry = fileURLToPath(new URL('../../../dist/node/index.js', import.meta.url))

/** @returns why ringcache can't be measured, or undefined when it can. */
export function missingRingcache(): string | undefined {
  return existsSync(entry) ? undefined : 'dist is missing: run npm run build'
}

export async function startRingcache(_firstPort: number, _settings: RingcacheSettings): Promise<Servers> {
  throw new Error('pending')
}
