/** `ringcache jobs`: what the cluster does by itself at set times, and what came of it. */

import { Command } from 'commander'
import { loadClusterConfig } from '../config/load.ts'
import { CacheError } from '../kernel/errors.ts'
import type { AdminApi } from '../wire/admin.ts'
import type {
  EndedRunMessage,
  JobDefinitionMessage,
  JobMessage,
  ListJobsReply,
  OpenRunMessage,
} from '../wire/admin-jobs.ts'
import { pause, type SharedOptions, withCluster, withSharedOptions } from './connection.ts'
import { EXIT } from './exit-codes.ts'
import { durationText, print, table } from './output.ts'

const WAIT_MS = 500

interface RunOptions extends SharedOptions {
  readonly dryRun?: boolean
  readonly wait: boolean
}

interface ApplyOptions extends SharedOptions {
  readonly dryRun?: boolean
}

export function jobsCommand(): Command {
  return new Command('jobs')
    .description('See what the cluster does by itself at set times, begin it now, and see what came of it.')
    .addCommand(listCommand())
    .addCommand(runCommand())
    .addCommand(cancelCommand())
    .addCommand(historyCommand())
    .addCommand(scheduleCommand('schedule', undefined))
    .addCommand(applyCommand())
    .addCommand(dropCommand())
}

function listCommand(): Command {
  return withSharedOptions(new Command('list'))
    .description('List the jobs, and the runs that go on.')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const reply = await api.listJobs({})
        print(options, reply, () => listText(reply))
      })
    })
}

function runCommand(): Command {
  return withSharedOptions(new Command('run'))
    .description('Run a job now, and wait for its end.')
    .argument('<name>')
    .option('--dry-run', 'change nothing, and say what it would do')
    .option('--no-wait', 'only begin it')
    .action(async (name: string, options: RunOptions) => {
      await withCluster(options, async (api) => {
        const { atMs } = await api.runJob({ name, dryRun: options.dryRun === true })
        if (!options.wait) {
          print(options, { name, atMs }, () => `${name} runs; \`ringcache jobs list\` shows how far it is`)
          return
        }
        const ended = await untilEnd(api, name, atMs, options)
        print(options, ended, () => `${ended.outcome}: ${ended.result}`)
        if (ended.outcome !== 'done') process.exitCode = EXIT.failed
      })
    })
}

function cancelCommand(): Command {
  return withSharedOptions(new Command('cancel'))
    .description('End the run of a job that goes on.')
    .argument('<name>')
    .action(async (name: string, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        await api.cancelJob({ name })
        print(options, { name, cancelled: true }, () => `${name} is to end`)
      })
    })
}

function historyCommand(): Command {
  return withSharedOptions(new Command('history'))
    .description('List the last runs that ended, and times that passed without one, oldest first.')
    .argument('[name]', 'of this job only')
    .action(async (name: string | undefined, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const { runs } = await api.jobHistory({ name: name ?? '' })
        print(options, runs, () => (runs.length === 0 ? 'nothing has run yet' : historyTable(runs)))
      })
    })
}

interface ScheduleOptions extends SharedOptions {
  readonly timeZone?: string
  readonly never?: boolean
}

/** @param only the job it is about; undefined: the first argument says that */
export function scheduleCommand(command: string, only: string | undefined): Command {
  const base = withSharedOptions(new Command(command))
    .description(`Show when ${only === undefined ? 'a job' : `the ${only}`} is run, or set that.`)
    .option('--time-zone <name>', 'of the schedule, such as Europe/Berlin')
    .option('--never', 'only when somebody asks for it')
  const expression = 'a cron expression in quotes, such as "0 3 * * *"'
  if (only === undefined) {
    return base
      .argument('<name>')
      .argument('[schedule]', expression)
      .action((name: string, schedule: string | undefined, options: ScheduleOptions) =>
        showOrSet(name, schedule, options),
      )
  }
  return base
    .argument('[schedule]', expression)
    .action((schedule: string | undefined, options: ScheduleOptions) => showOrSet(only, schedule, options))
}

async function showOrSet(
  name: string,
  schedule: string | undefined,
  options: ScheduleOptions,
): Promise<void> {
  await withCluster(options, async (api) => {
    const { definition } = await find(api, name)
    const wanted = options.never === true ? '' : (schedule ?? definition.schedule)
    const timeZone = options.timeZone ?? definition.timeZone
    if (wanted !== definition.schedule || timeZone !== definition.timeZone)
      await api.setJob({ definition: { ...definition, schedule: wanted, timeZone } })
    const job = await find(api, name)
    print(options, job, () => jobTable([job]))
  })
}

function applyCommand(): Command {
  return withSharedOptions(new Command('apply'))
    .description(
      'Give the cluster the jobs of its configuration file, and take from it those that are not there.',
    )
    .option('--dry-run', 'only say what would change')
    .action(async (options: ApplyOptions) => {
      const wanted = (await loadClusterConfig(options.config)).jobs
      await withCluster(options, async (api) => {
        const known = (await api.listJobs({})).jobs.map(({ definition }) => definition)
        const changed = wanted.filter((job) => !known.some((one) => isSame(one, job)))
        const dropped = known.filter(({ name }) => !wanted.some((job) => job.name === name))
        if (options.dryRun !== true) {
          for (const definition of changed) await api.setJob({ definition })
          for (const { name } of dropped) await api.dropJob({ name })
        }
        const answer = { set: changed.map(({ name }) => name), dropped: dropped.map(({ name }) => name) }
        print(options, answer, () => applyText(answer, options.dryRun === true))
      })
    })
}

function dropCommand(): Command {
  return withSharedOptions(new Command('drop'))
    .description(
      'Take a job from the cluster. One that its configuration file has comes back: take it out there first.',
    )
    .argument('<name>')
    .action(async (name: string, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        await api.dropJob({ name })
        print(options, { name, dropped: true }, () => `${name} is dropped`)
      })
    })
}

async function untilEnd(
  api: AdminApi,
  name: string,
  atMs: number,
  options: SharedOptions,
): Promise<EndedRunMessage> {
  let said = ''
  for (;;) {
    const { runs } = await api.jobHistory({ name })
    const ended = runs.find((run) => run.manual && run.atMs === atMs)
    if (ended !== undefined) return ended
    const open = (await api.listJobs({})).runs.find((run) => run.job === name)
    if (open === undefined) {
      const again = (await api.jobHistory({ name })).runs.find((run) => run.manual && run.atMs === atMs)
      if (again !== undefined) return again
      throw new CacheError('UNAVAILABLE', `nothing is known of that run of ${name} any more`)
    }
    const text = progressOf(open)
    if (options.output === 'text' && text !== said) console.error(`${name} on ${open.nodeId}: ${text}`)
    said = text
    await pause(WAIT_MS)
  }
}

async function find(api: AdminApi, name: string): Promise<JobMessage> {
  const { jobs } = await api.listJobs({})
  const job = jobs.find(({ definition }) => definition.name === name)
  if (job !== undefined) return job
  const known = jobs.map(({ definition }) => definition.name).join(', ')
  throw new CacheError(
    'INVALID_ARGUMENT',
    `there is no job ${name}; ${known === '' ? 'there are none: see maintenance and backup in docs/configuration.md' : `there are ${known}`}`,
  )
}

function isSame(a: JobDefinitionMessage, b: JobDefinitionMessage): boolean {
  return (
    a.name === b.name &&
    a.kind === b.kind &&
    a.schedule === b.schedule &&
    a.timeZone === b.timeZone &&
    a.timeLimitMs === b.timeLimitMs &&
    a.startWithinMs === b.startWithinMs &&
    a.spec === b.spec
  )
}

function applyText({ set, dropped }: { set: string[]; dropped: string[] }, isDryRun: boolean): string {
  if (set.length + dropped.length === 0) return 'the cluster has the jobs of the file'
  const lines = [
    ...(set.length === 0 ? [] : [`${isDryRun ? 'would set' : 'set'} ${set.join(', ')}`]),
    ...(dropped.length === 0 ? [] : [`${isDryRun ? 'would drop' : 'dropped'} ${dropped.join(', ')}`]),
  ]
  return lines.join('\n')
}

function listText({ jobs, runs }: ListJobsReply): string {
  const parts = [jobs.length === 0 ? 'there are no jobs' : jobTable(jobs)]
  if (runs.length > 0) parts.push(runTable(runs))
  return parts.join('\n\n')
}

function jobTable(jobs: readonly JobMessage[]): string {
  return table(
    ['JOB', 'KIND', 'SCHEDULE', 'TIME ZONE', 'NEXT', 'DONE', 'FAILED', 'MISSED', 'SETTINGS'],
    jobs.map(({ definition, nextMs, done, failed, missed }) => [
      definition.name,
      definition.kind,
      definition.schedule === '' ? 'never' : definition.schedule,
      definition.timeZone,
      nextMs === undefined ? '' : timeText(nextMs),
      done,
      failed,
      missed,
      definition.spec,
    ]),
  )
}

function runTable(runs: readonly OpenRunMessage[]): string {
  return table(
    ['RUNS', 'NODE', 'ATTEMPT', 'SINCE', 'PROGRESS'],
    runs.map((run) => [
      run.dryRun ? `${run.job} (dry run)` : run.job,
      run.nodeId,
      run.attempt,
      timeText(run.startedMs),
      run.cancelled ? 'to end' : progressOf(run),
    ]),
  )
}

function historyTable(runs: readonly EndedRunMessage[]): string {
  return table(
    ['JOB', 'TIME', 'OUTCOME', 'NODE', 'TOOK', 'RESULT'],
    runs.map((run) => [
      run.job,
      timeText(run.atMs),
      run.dryRun ? `${run.outcome} (dry run)` : run.outcome,
      run.nodeId,
      run.outcome === 'missed' ? '' : durationText(Math.max(0, run.endedMs - run.startedMs)),
      run.outcome === 'missed' ? missedText(run) : run.result,
    ]),
  )
}

function missedText({ count, endedMs, result }: EndedRunMessage): string {
  return count === 1 ? result : `${count} times, until ${timeText(endedMs)}: ${result}`
}

function progressOf({ progress }: OpenRunMessage): string {
  if (progress === undefined || progress === null) return 'begun'
  const { done, total, text } = progress
  return total === 0 ? text : `${done} of ${total}, ${text}`
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}
