/** Writes docs/configuration.md from the schema, so that no option is described in two places. */

import { z } from 'zod'
import { docOf } from '../../src/config/option.ts'
import { unwrap } from '../../src/config/problems.ts'
import { clusterSchema } from '../../src/config/schema.ts'

const INTRODUCTION = `# Configuration

<!-- Written by \`npm run docs\` from src/config/schema.ts. Edit it there. -->

A cluster is described by one YAML file, \`cluster.yaml\`, which all its nodes read. Only \`nodes\` is required.

Durations are numbers with a unit (\`250ms\`, \`30s\`, \`5m\`, \`1h\`, \`7d\`); a bare number is **milliseconds**. Sizes are numbers
with a unit in powers of 1024 (\`512kb\`, \`64mb\`, \`2gb\`); a bare number is bytes. An option that is misspelt, doubled or out
of its range is refused, with file, line and column.

\`\`\`yaml
nodes:
  - { id: node1, address: '127.0.0.1:7401' }
  - { id: node2, address: '127.0.0.1:7402' }
  - { id: node3, address: '127.0.0.1:7403' }
regions:
  sessions: { size: 64mb, ttl: 30m }
\`\`\`
`

/** What heads the table of a map, by the path of the map. */
const SECTIONS: Readonly<Record<string, string>> = {
  '': '## The cluster',
  'nodes[]': '## `nodes`\n\nA list with one entry or more, at most 100.',
  replication: '## `replication`',
  memory: '## `memory`',
  limits: '## `limits`\n\nWhat is beyond them is refused with a clear error; nothing changes.',
  'regions.<name>':
    '## `regions`\n\nA map of names to options. The region `default` always exists and is used when none is named; ' +
    'write it down to change its options. A name has 1 to 64 letters, digits, dots, hyphens and underscores, the first a ' +
    'letter or digit.',
  snapshots:
    '## `snapshots`\n\nEach node writes what it holds to its `dataDir`, and brings it back when it starts; see ' +
    '[operation](operation.md#warm-restart). Without this section there are none. `snapshots: {}` is the defaults.',
  backup:
    '## `backup`\n\nWhere backups of the whole cluster lie; see [backups](backup.md). Without it `ringcache snapshot` has to be ' +
    'told with `--to`.',
  maintenance:
    '## `maintenance`\n\nWork that one node after the other does for the cluster at set times; see ' +
    '[jobs](jobs.md). The cluster is given these jobs when it has none of their names; later changes are made with ' +
    '`ringcache jobs apply`.',
  'maintenance.tasks[]': '### `maintenance.tasks`\n\nA list with one entry or more.',
  log: '## `log`',
}

interface Row {
  readonly section: string
  readonly line: string
}

/** The whole document. */
export function configurationDoc(): string {
  const rows = rowsOf(clusterSchema, '', '')
  const parts = [...new Set(rows.map((row) => row.section))].map((section) => {
    const heading = SECTIONS[section]
    if (heading === undefined)
      throw new Error(`scripts/docs/configuration.ts has no heading for "${section}"`)
    const lines = rows.filter((row) => row.section === section).map((row) => row.line)
    return [heading, '', '| option | default | allowed | |', '| --- | --- | --- | --- |', ...lines].join('\n')
  })
  return `${[INTRODUCTION.trimEnd(), ...parts].join('\n\n')}\n`
}

/** One row per option below `schema`. A map inside a map of its own heading begins a new section. */
function rowsOf(schema: z.ZodType, path: string, section: string): Row[] {
  const doc = docOf(schema)
  if (doc !== undefined) {
    const name = path.slice(section.length).replace(/^\./, '')
    const isPhrase = doc.default === 'required' || doc.default.includes(' ')
    const cells = [`\`${name}\``, isPhrase ? doc.default : `\`${doc.default}\``, doc.allowed, doc.description]
    return [{ section, line: `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |` }]
  }
  const inner = unwrap(schema)
  if (inner instanceof z.ZodArray) return rowsOf(inner.element as z.ZodType, `${path}[]`, section)
  if (inner instanceof z.ZodRecord) return rowsOf(inner.valueType as z.ZodType, `${path}.<name>`, section)
  if (!(inner instanceof z.ZodObject)) throw new Error(`${path} is neither an option nor a map of options`)
  const own = path in SECTIONS ? path : section
  return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([key, child]) =>
    rowsOf(child, path === '' ? key : `${path}.${key}`, own),
  )
}
