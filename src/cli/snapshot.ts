/** `ringcache snapshot`: what a cluster holds, written elsewhere and brought back. */

import { Command } from 'commander'
import { scheduleCommand } from './jobs.ts'
import { backupCommands } from './snapshot-backups.ts'
import { exportCommand } from './snapshot-export.ts'
import { importCommand } from './snapshot-import.ts'

export function snapshotCommand(): Command {
  const command = new Command('snapshot').description(
    'Write what the cluster holds elsewhere, and bring it back.',
  )
  for (const one of backupCommands()) command.addCommand(one)
  command.addCommand(scheduleCommand('schedule', 'backup'))
  return command.addCommand(exportCommand()).addCommand(importCommand())
}
