/**
 * Carries out a Dockerfile's own steps in folders instead of containers: each stage is a folder that stands for its root, COPY
 * copies what .dockerignore lets through, RUN runs with the stage's environment. Enough to see that the steps work from a
 * clean checkout; what only an engine does (users, mounts, the base image) is not imitated.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'

export interface Stage {
  readonly name: string
  readonly base: string
  readonly root: string
  workdir: string
  readonly env: Record<string, string>
  user: string
  entrypoint: string[]
  cmd: string[]
  healthcheck: string
}

interface Step {
  readonly keyword: string
  readonly rest: string
}

/** Reads the steps; joined lines are one. @throws Error for a line that is no step */
function parseDockerfile(text: string): Step[] {
  const lines = text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .join('\n')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
  return lines.map((line) => {
    const match = /^([A-Z]+)\s+(.*)$/.exec(line)
    if (match === null) throw new Error(`no step of a Dockerfile: ${line}`)
    return { keyword: match[1] as string, rest: match[2] as string }
  })
}

/** Builds in `into` and returns the last stage. */
export function buildStages(context: string, into: string): Stage {
  const included = ignoreRules(path.join(context, '.dockerignore'))
  const stages: Stage[] = []
  for (const { keyword, rest } of parseDockerfile(readFileSync(path.join(context, 'Dockerfile'), 'utf8'))) {
    if (keyword === 'FROM') {
      const [base = '', , name = `stage${stages.length}`] = rest.split(/\s+/)
      const root = path.join(into, name)
      mkdirSync(root, { recursive: true })
      stages.push({
        name,
        base,
        root,
        workdir: '/',
        env: {},
        user: 'root',
        entrypoint: [],
        cmd: [],
        healthcheck: '',
      })
      continue
    }
    const stage = stages.at(-1)
    if (stage === undefined) throw new Error(`${keyword} before FROM`)
    perform(stage, keyword, rest, { context, included, stages })
  }
  return stages.at(-1) as Stage
}

interface Surroundings {
  readonly context: string
  readonly included: (file: string) => boolean
  readonly stages: readonly Stage[]
}

function perform(stage: Stage, keyword: string, rest: string, around: Surroundings): void {
  switch (keyword) {
    case 'WORKDIR':
      stage.workdir = rest
      mkdirSync(inside(stage, '.'), { recursive: true })
      return
    case 'ENV': {
      const [name = '', value = ''] = rest.split('=')
      stage.env[name] = value
      return
    }
    case 'COPY':
      copy(stage, rest, around)
      return
    case 'RUN':
      execFileSync('sh', ['-c', rest], {
        cwd: inside(stage, '.'),
        env: { ...process.env, ...stage.env },
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      return
    case 'USER':
      stage.user = rest
      return
    case 'ENTRYPOINT':
      stage.entrypoint = JSON.parse(rest)
      return
    case 'CMD':
      stage.cmd = JSON.parse(rest)
      return
    case 'HEALTHCHECK':
      stage.healthcheck = rest.replace(/^.*?\bCMD\s+/, '')
      return
    case 'EXPOSE':
    case 'VOLUME':
    case 'STOPSIGNAL':
      return
    default:
      throw new Error(`the Dockerfile uses ${keyword}, which this test does not know`)
  }
}

function copy(stage: Stage, rest: string, { context, included, stages }: Surroundings): void {
  const words = rest.split(/\s+/)
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined
  const target = words.pop() as string
  const source = stages.find(({ name }) => name === from)
  if (from !== undefined && source === undefined) throw new Error(`there is no stage ${from}`)
  for (const word of words) {
    const file = source === undefined ? path.join(context, word) : path.join(source.root, word)
    if (!existsSync(file) || (source === undefined && !included(word))) {
      throw new Error(`COPY ${rest}: ${word} is not there, or .dockerignore leaves it out`)
    }
    const intoFolder = target.endsWith('/') && !statSync(file).isDirectory()
    const destination = inside(stage, intoFolder ? path.join(target, path.basename(word)) : target)
    cpSync(file, destination, { recursive: true, verbatimSymlinks: true })
  }
}

function inside(stage: Stage, file: string): string {
  return path.join(stage.root, path.posix.resolve(stage.workdir, file))
}

/** Knows a list that starts with `*` and then lets single paths through. */
function ignoreRules(file: string): (name: string) => boolean {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (lines[0] !== '*' || lines.slice(1).some((line) => !line.startsWith('!'))) {
    throw new Error('.dockerignore is to start with * and then let single paths through')
  }
  const allowed = lines.slice(1).map((line) => line.slice(1))
  return (name) => allowed.some((entry) => name === entry || name.startsWith(`${entry}/`))
}
