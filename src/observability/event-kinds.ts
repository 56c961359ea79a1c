/**
 * Every kind of event there is, with what it means and what to do about it. docs/observability.md has this table; a kind that is added
 * here appears there with `npm run docs`.
 */

export type Severity = 'info' | 'warning' | 'error'

export type EventKind =
  | 'node.started'
  | 'snapshot.failed'
  | 'snapshot.recovered'
  | 'snapshot.unusable'
  | 'snapshot.unfinished'
  | 'backup.failed'
  | 'backup.damaged'
  | 'job.failed'
  | 'job.missed'

export interface EventKindFacts {
  readonly severity: Severity
  readonly meaning: string
  /** What an operator does about it. */
  readonly advice: string
}

export const EVENT_KINDS: Readonly<Record<EventKind, EventKindFacts>> = {
  'node.started': {
    severity: 'info',
    meaning: 'the process of a node began',
    advice: 'nothing; one that nobody asked for means that the process before it ended: see its log',
  },
  'snapshot.failed': {
    severity: 'error',
    meaning:
      'the node could not open its snapshots or write one: a full or hanging disk, a folder that may not be written or that another process uses, a damaged file. It serves on, and tries again each interval; until then a restart brings back an older state',
    advice:
      'what the message says: free some space, give the right to write, stop the other process, replace the disk',
  },
  'snapshot.recovered': {
    severity: 'info',
    meaning: 'snapshots are made again',
    advice: 'nothing',
  },
  'snapshot.unusable': {
    severity: 'error',
    meaning:
      'a snapshot that was found at the start is damaged, or partitions in it are: the node took an older one, or came back without them and is sent them by the others',
    advice:
      'check the disk. The next snapshot does not build on what is damaged; retention removes it in time',
  },
  'snapshot.unfinished': {
    severity: 'warning',
    meaning:
      'a snapshot that was found at the start has no end and is removed: the process before ended while it wrote, or the last that it wrote is damaged. The node comes back with the snapshot before that one',
    advice: 'nothing after a crash; if the process before had ended in order, check the disk',
  },
  'backup.failed': {
    severity: 'error',
    meaning: 'a backup of the cluster was not made, or one could not be checked, restored or removed',
    advice:
      'what the message says, then the command again: `snapshot create --resume` goes on with what is there',
  },
  'backup.damaged': {
    severity: 'error',
    meaning: '`ringcache snapshot verify` found damage in a backup',
    advice: 'make another one now, and check the place where backups lie',
  },
  'job.failed': {
    severity: 'error',
    meaning: 'a run of a job failed',
    advice:
      'what the message says; `ringcache jobs history` shows the runs, `ringcache jobs run` begins one now',
  },
  'job.missed': {
    severity: 'warning',
    meaning: 'scheduled times of a job passed without a run',
    advice:
      'run it now if it matters (`ringcache jobs run`); a run that takes longer than from one time to the next needs a wider schedule',
  },
}
