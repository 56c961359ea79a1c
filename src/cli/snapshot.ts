/** `ringcache snapshot`: what a cluster holds, written elsewhere and brought back. */

import { Command } from 'commander'
import { exportCommand } from './snapshot-export.ts'
import { importCommand } from './snapshot-import.ts'

export function snapshotCommand(): Command {
  return new Command('snapshot')
    .description('Write what the cluster holds elsewhere, and bring it back.')
    .addCommand(exportCommand())
    .addCommand(importCommand())
}
