/** The jobs that a configuration asks for: tasks of maintenance, and backups. */

import { parseSchedule } from '../jobs/schedule.ts'
import { JOBS_MAX, type JobDefinition } from '../topology/jobs.ts'
import { foundText, pathText } from './problems.ts'
import type { ClusterFile, MaintenanceTask } from './schema.ts'
import type { OptionPath, Problem } from './source.ts'

/** What an option belongs to, and which a task needs. */
const OPTIONS: Readonly<Record<MaintenanceTask['type'], readonly (keyof MaintenanceTask)[]>> = {
  cleanup: ['olderThan', 'regions'],
  compact: ['threshold'],
  rebalance: ['threshold'],
}
/** The job of backups, and its kind. */
const BACKUP = 'backup'
const OWN_OPTIONS = ['olderThan', 'regions', 'threshold'] as const
const THRESHOLDS = { compact: 0.3, rebalance: 0.2 } as const

export function jobsOf({ maintenance, backup }: ClusterFile): JobDefinition[] {
  return [...backupJobs(backup), ...maintenanceJobs(maintenance)]
}

/** A place for backups and no schedule make a job that runs when somebody asks for it. */
function backupJobs(backup: ClusterFile['backup']): JobDefinition[] {
  if (backup?.storage === undefined) return []
  const { schedule = '', timeZone, timeLimit, startWithin, keep, retention } = backup
  const spec = {
    ...(keep === undefined ? {} : { keep }),
    ...(retention === undefined ? {} : { retentionMs: retention }),
  }
  const timing = { schedule, timeZone, timeLimitMs: timeLimit, startWithinMs: startWithin }
  return [{ name: BACKUP, kind: BACKUP, ...timing, spec: JSON.stringify(spec) }]
}

function maintenanceJobs(maintenance: ClusterFile['maintenance']): JobDefinition[] {
  if (maintenance === undefined) return []
  const { timeZone, timeLimit, startWithin, tasks } = maintenance
  return tasks.map((task) => ({
    name: nameOf(task),
    kind: task.type,
    schedule: task.schedule ?? maintenance.schedule ?? '',
    timeZone,
    timeLimitMs: timeLimit,
    startWithinMs: startWithin,
    spec: JSON.stringify(specOf(task)),
  }))
}

export function jobContradictions(file: ClusterFile): Problem[] {
  return [...backupContradictions(file), ...maintenanceContradictions(file)]
}

function backupContradictions({ backup }: ClusterFile): Problem[] {
  if (backup === undefined) return []
  const path = ['backup', 'schedule']
  if (backup.schedule !== undefined && backup.storage === undefined)
    return [
      { path, message: 'backup.schedule is given, but no backup.storage: say where backups are to lie' },
    ]
  return scheduleProblems(path, backup.schedule, backup.timeZone)
}

function maintenanceContradictions(file: ClusterFile): Problem[] {
  const { maintenance } = file
  if (maintenance === undefined) return []
  const { tasks, schedule, timeZone } = maintenance
  const at = ['maintenance']
  const problems = scheduleProblems([...at, 'schedule'], schedule, timeZone)
  if (tasks.length > JOBS_MAX - 1)
    problems.push({
      path: [...at, 'tasks'],
      message: `maintenance.tasks has ${tasks.length} entries; at most ${JOBS_MAX - 1} are allowed`,
    })
  for (const [i, task] of tasks.entries()) {
    const path = [...at, 'tasks', i]
    problems.push(...scheduleProblems([...path, 'schedule'], task.schedule, timeZone))
    for (const option of OWN_OPTIONS) {
      if (task[option] === undefined || OPTIONS[task.type].includes(option)) continue
      const message = `${pathText([...path, option])} is given, but a ${task.type} has no such option; leave it out`
      problems.push({ path: [...path, option], message })
    }
    if (task.type === 'cleanup' && task.olderThan === undefined)
      problems.push({ path, message: `${pathText(path)} is a cleanup, which needs olderThan, such as 7d` })
    if (task.type === 'compact' && (task.threshold ?? 0) >= 1)
      problems.push(wrong([...path, 'threshold'], task.threshold, 'a share of a log is below 1'))
    const regions = task.regions ?? []
    const unknown = regions.find((name) => name !== 'default' && file.regions[name] === undefined)
    if (unknown !== undefined)
      problems.push(
        wrong(
          [...path, 'regions'],
          unknown,
          'there is no such region in this file; name those under regions',
        ),
      )
    const same = tasks.findIndex((other) => nameOf(other) === nameOf(task))
    if (same < i || nameOf(task) === BACKUP)
      problems.push(
        wrong(
          [...path, 'name'],
          nameOf(task),
          'another job has this name already; give each its own `name`',
          [...path, 'type'],
        ),
      )
  }
  return problems
}

/** @param schedule as it is written; undefined: none is */
function scheduleProblems(path: OptionPath, schedule: string | undefined, timeZone: string): Problem[] {
  if (schedule === undefined) return []
  try {
    parseSchedule(schedule, timeZone)
    return []
  } catch (error) {
    return [{ path, message: `${pathText(path)}: ${error instanceof Error ? error.message : String(error)}` }]
  }
}

function nameOf({ name, type }: MaintenanceTask): string {
  return name ?? type
}

function specOf({ type, olderThan, regions, threshold }: MaintenanceTask): object {
  if (type === 'cleanup') return { olderThanMs: olderThan, regions: regions ?? [] }
  return { threshold: threshold ?? THRESHOLDS[type] }
}

function wrong(path: OptionPath, found: unknown, message: string, related?: OptionPath): Problem {
  const text = `${pathText(path)} is ${foundText(found)}, but ${message}`
  return related === undefined ? { path, message: text } : { path, message: text, related }
}
