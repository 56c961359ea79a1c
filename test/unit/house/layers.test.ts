/** The layer check finds wrong imports, put into a copy of the tree, and has really looked at every file. */

import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkLayers, layerProblems } from '../../../scripts/check/layers.ts'

const root = resolve(import.meta.dirname, '../../..')
const COPIED = ['src', 'package.json', 'tsconfig.json', '.dependency-cruiser.cjs']

/** Files that break a rule each, and the line that says so. */
const WRONG: readonly (readonly [file: string, text: string, violation: RegExp])[] = [
  [
    'src/kernel/canary.ts',
    "import '../wire/frames.ts'",
    /layer-kernel: src\/kernel\/canary\.ts → src\/wire\/frames\.ts/,
  ],
  [
    'src/engine/canary.ts',
    "import type { Topology } from '../topology/topology.ts'\nexport type T = Topology",
    /layer-engine: src\/engine\/canary\.ts → src\/topology\/topology\.ts/,
  ],
  [
    'src/client/canary.ts',
    "import '../node/canary-port.ts'",
    /layer-client: src\/client\/canary\.ts → src\/node\//,
  ],
  [
    'src/node/canary.ts',
    "import '../adapters/canary.ts'",
    /layer-node: src\/node\/canary\.ts → src\/adapters\/canary\.ts/,
  ],
  [
    'src/adapters/canary.ts',
    "import '../node/canary-port.ts'",
    /adapters-see-types: src\/adapters\/canary\.ts → src\/node\/canary-port\.ts/,
  ],
  ['src/topology/canary.ts', "import 'node:fs'", /outside-world: src\/topology\/canary\.ts → /],
  [
    'src/replication/canary.ts',
    "import '@grpc/grpc-js'",
    /packages-replication: src\/replication\/canary\.ts → /,
  ],
  ['src/wire/canary.ts', "import './canary-back.ts'", /no-cycles: src\/wire\/canary/],
  ['src/wire/canary-back.ts', "import './canary.ts'", /no-cycles: src\/wire\/canary/],
  [
    'src/kernel/canary-alone.ts',
    'export const alone: number = 1',
    /no-orphans: src\/kernel\/canary-alone\.ts/,
  ],
  ['src/strange/canary.ts', "import '../kernel/clock.ts'", /known-layers: src\/strange\/canary\.ts/],
  ['src/kernel/canary-missing.ts', "import './nowhere.ts'", /resolvable: src\/kernel\/canary-missing\.ts → /],
]
/** Files that break no rule. */
const RIGHT: readonly (readonly [file: string, text: string])[] = [
  ['src/node/canary-port.ts', "import '../kernel/clock.ts'"],
  [
    'src/adapters/canary-right.ts',
    "import type {} from '../node/canary-port.ts'\nimport 'node:net'\nimport '@grpc/grpc-js'",
  ],
  ['src/cli/canary.ts', "import '../adapters/canary-right.ts'"],
  ['src/wire/canary-pure.ts', "import 'node:buffer'\nimport '../kernel/clock.ts'"],
]

describe('the layer check', () => {
  let copy: string
  let violations: readonly string[]

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'ringcache-layers-'))
    for (const name of COPIED) cpSync(join(root, name), join(copy, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    for (const [file, text] of [...WRONG, ...RIGHT]) {
      mkdirSync(dirname(join(copy, file)), { recursive: true })
      writeFileSync(join(copy, file), `${text}\n`)
    }
    violations = checkLayers(copy).violations
  }, 60_000)

  afterAll(() => rmSync(copy, { recursive: true, force: true }))

  it.each(WRONG)('finds what is wrong in %s', (_, __, violation) => {
    expect(violations).toContainEqual(expect.stringMatching(violation))
  })

  it.each(RIGHT)('allows %s', (file) => {
    expect(violations.filter((line) => line.includes(`: ${file} → `))).toEqual([])
  })

  it('has looked at every module of the real tree', () => {
    const report = checkLayers(root)
    expect(report.modulesCruised).toBeGreaterThanOrEqual(20)
    expect(report.modulesCruised).toBeGreaterThanOrEqual(report.modulesExpected)
  }, 60_000)

  it('fails when it saw fewer modules than there are', () => {
    expect(layerProblems({ violations: [], modulesCruised: 0, modulesExpected: 0 })).toHaveLength(1)
    expect(layerProblems({ violations: [], modulesCruised: 5, modulesExpected: 6 })).toEqual([
      expect.stringContaining('only 5 of the 6 modules'),
    ])
    expect(layerProblems({ violations: [], modulesCruised: 6, modulesExpected: 6 })).toEqual([])
  })
})
