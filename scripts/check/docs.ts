/**
 * Checks the documents: the generated ones are up to date, every link leads somewhere, every error code is explained,
 * and no file names a path of the machine it was written on.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { ERROR_KINDS } from '../../src/kernel/errors.ts'
import { generatedDocs } from '../docs/generated.ts'

const ERRORS_DOC = 'docs/errors.md'
/** Absolute paths below a home or a working folder. Loopback URLs and absolute paths in containers are fine. */
const MACHINE_PATH = /(?<![\w.])\/(?:home|Users|work|root|mnt)\/[\w.-]+/
const TEXT_FILE = /\.(?:ts|mjs|cjs|js|json|jsonc|md|ya?ml|proto|sh|grit)$|(?:^|\/)(?:Dockerfile|run|LICENSE)$/

/** What is wrong in the project at `root`, one line each. */
export function docProblems(root: string): string[] {
  const files = committedFiles(root)
  const documents = files.filter((file) => file.endsWith('.md'))
  return [
    ...outdated(root),
    ...documents.flatMap((file) => brokenLinks(root, file)),
    ...errorCodeProblems(root),
    ...files.flatMap((file) => machinePaths(root, file)),
  ]
}

/** Files that are in the repository or about to be. */
function committedFiles(root: string): string[] {
  const output = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
  })
  return output.split('\0').filter((file) => file !== '' && existsSync(join(root, file)))
}

function outdated(root: string): string[] {
  return generatedDocs()
    .filter(
      ({ path, text }) => !existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text,
    )
    .map(({ path }) => `${path} is out of date: run \`npm run docs\``)
}

/** Links to files and headings of the project that don't exist. Links to other sites are not followed. */
export function brokenLinks(root: string, file: string): string[] {
  const problems: string[] = []
  const prose = withoutCode(readFileSync(join(root, file), 'utf8'))
  for (const [, target = ''] of prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)) {
    if (/^[a-z][a-z+.-]*:/i.test(target)) continue
    const [path = '', heading] = target.split('#')
    const linked = path === '' ? join(root, file) : resolve(root, dirname(file), decodeURIComponent(path))
    const shown = relative(root, linked)
    if (shown.startsWith('..')) problems.push(`${file}: the link ${target} leads out of the project`)
    else if (!existsSync(linked)) problems.push(`${file}: the link ${target} leads nowhere`)
    else if (heading && shown.endsWith('.md') && !headings(linked).has(heading)) {
      problems.push(`${file}: ${shown} has no heading #${heading}`)
    }
  }
  return problems
}

function withoutCode(markdown: string): string {
  return markdown.replace(/^(`{3,}|~{3,})[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '')
}

/** The anchors of a document's headings, as GitHub makes them. */
function headings(path: string): Set<string> {
  const anchors = new Set<string>()
  const markdown = readFileSync(path, 'utf8').replace(/^(`{3,}|~{3,})[\s\S]*?^\1/gm, '')
  for (const [, title = ''] of markdown.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const anchor = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-')
    let unique = anchor
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${n}`
    anchors.add(unique)
  }
  return anchors
}

/** Every code has a section of its own with the right word on retrying, and no section is left of a code that went. */
export function errorCodeProblems(root: string): string[] {
  const path = join(root, ERRORS_DOC)
  if (!existsSync(path)) return [`${ERRORS_DOC} is missing`]
  const sections = new Map<string, string>()
  for (const part of readFileSync(path, 'utf8').split(/^(?=## )/m)) {
    const code = /^## ([A-Z_]+)$/m.exec(part)?.[1]
    if (code !== undefined) sections.set(code, part)
  }
  const problems: string[] = []
  for (const [code, kind] of Object.entries(ERROR_KINDS)) {
    const section = sections.get(code)
    const facts = `Retryable: ${kind.retryable ? 'yes' : 'no'} · gRPC status ${kind.grpcStatus} · wire ${kind.wire}`
    if (section === undefined) problems.push(`${ERRORS_DOC} has no section "## ${code}"`)
    else if (!section.includes(facts)) problems.push(`${ERRORS_DOC}: ${code} should say "${facts}"`)
    sections.delete(code)
  }
  for (const code of sections.keys()) problems.push(`${ERRORS_DOC} explains ${code}, which is no error code`)
  return problems
}

export function machinePaths(root: string, file: string): string[] {
  if (!TEXT_FILE.test(file) || file === 'package-lock.json' || file === 'scripts/check/docs.ts') return []
  const lines = readFileSync(join(root, file), 'utf8').split('\n')
  return lines.flatMap((line, index) => {
    const found = MACHINE_PATH.exec(line)?.[0]
    return found === undefined ? [] : [`${file}:${index + 1}: ${found} is a path of one machine`]
  })
}
