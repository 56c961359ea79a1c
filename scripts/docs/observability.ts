/**
 * Writes the tables of docs/observability.md from the catalogues of events and metrics. The text around them is written there, by hand:
 * only what lies between a pair of markers is replaced.
 */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { EVENT_KINDS } from '../../src/observability/event-kinds.ts'
import { METRICS } from '../../src/observability/metrics.ts'

const DOCUMENT: string = join(resolve(import.meta.dirname, '../..'), 'docs/observability.md')

/** The whole document. */
export function observabilityDoc(): string {
  const text = readFileSync(DOCUMENT, 'utf8')
  return withTable(withTable(text, 'events', eventTable()), 'metrics', metricTable())
}

/** @throws Error when the document has no such markers */
function withTable(text: string, name: string, table: string): string {
  const begin = `<!-- ${name}: written by \`npm run docs\` -->`
  const end = `<!-- end of ${name} -->`
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`docs/observability.md lacks "${begin}" … "${end}"`)
  return `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`
}

function eventTable(): string {
  const rows = Object.entries(EVENT_KINDS).map(
    ([kind, { severity, meaning, advice }]) => `| \`${kind}\` | ${severity} | ${meaning} | ${advice} |`,
  )
  return ['| kind | severity | meaning | what to do |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function metricTable(): string {
  const rows = Object.entries(METRICS).map(([name, { type, unit, help, labels }]) => {
    return `| \`${name}\` | ${type} | ${unit} | ${labelsText(labels)} | ${help} |`
  })
  return ['| metric | type | unit | labels | |', '| --- | --- | --- | --- | --- |', ...rows].join('\n')
}

function labelsText(labels: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(labels)
    .map(([label, values]) =>
      values.length === 0
        ? `\`${label}\``
        : `\`${label}\`: ${values.map((value) => `\`${value}\``).join(', ')}`,
    )
    .join('; ')
}
