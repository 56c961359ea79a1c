/** A process that does nothing: how long it stands still is the machine's doing. Asked over IPC: each message ends one period. */

import { Pauses } from './pauses.ts'

let pauses = new Pauses()
process.on('message', () => {
  process.send?.(pauses.stop())
  pauses = new Pauses()
})
process.once('disconnect', () => process.exit())
