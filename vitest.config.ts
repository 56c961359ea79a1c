/**
 * One project per kind of test. `npm test` runs all but `services`, which needs servers of other makes.
 *
 * unit and contract run side by side; the others follow one kind after the other, because they load the machine
 * (simulation) or measure time on it (integration, services).
 */

import { availableParallelism } from 'node:os'
import { defineConfig, type ViteUserConfig } from 'vitest/config'

interface Kind {
  readonly name: string
  /** Kinds with a higher number wait for those with a lower one. */
  readonly groupOrder: number
  readonly testTimeout: number
  /** Test files of a kind that run at a time. */
  readonly maxWorkers: number
}

/** Vitest's own default leaves one core idle. */
const cores = availableParallelism()

const kinds: readonly Kind[] = [
  { name: 'unit', groupOrder: 0, testTimeout: 20_000, maxWorkers: cores },
  { name: 'contract', groupOrder: 0, testTimeout: 20_000, maxWorkers: cores },
  { name: 'simulation', groupOrder: 1, testTimeout: 120_000, maxWorkers: cores },
  { name: 'integration', groupOrder: 2, testTimeout: 120_000, maxWorkers: 1 },
  { name: 'services', groupOrder: 3, testTimeout: 120_000, maxWorkers: 1 },
]

const config: ViteUserConfig = defineConfig({
  test: {
    projects: kinds.map(({ name, groupOrder, testTimeout, maxWorkers }) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        environment: 'node',
        setupFiles: ['test/support/property-seed.ts'],
        pool: 'forks',
        testTimeout,
        hookTimeout: testTimeout,
        sequence: { groupOrder },
        maxWorkers,
        fileParallelism: maxWorkers > 1,
      },
    })),
  },
})

export default config
