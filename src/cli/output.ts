/** Prints answers: tables and sentences for people, JSON for programs. */

import type { SilentNode } from '../admin/every-node.ts'
import type { ProgressMessage } from '../wire/admin.ts'
import type { SharedOptions } from './connection.ts'

/** @param text made only when people read it */
export function print(options: SharedOptions, answer: object, text: () => string): void {
  console.log(options.output === 'json' ? JSON.stringify(answer, null, 2) : text())
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = head.map((title, c) =>
    Math.max(title.length, ...rows.map((row) => String(row[c] ?? '').length)),
  )
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, c) => {
        const width = widths[c] as number
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}

export function progressText(progress: ProgressMessage): string {
  const { state, copiesTotal, copiesLeft, copiesRunning, handoversLeft, removalsLeft, etaMs } = progress
  if (copiesLeft + handoversLeft + removalsLeft === 0)
    return state === 'paused' ? 'paused; nothing to move' : 'nothing to move'
  const done =
    copiesTotal === 0 ? '' : `, ${percent(copiesTotal - copiesLeft, copiesTotal)} of ${copiesTotal} copied`
  const eta = etaMs === undefined ? '' : `, about ${durationText(etaMs)} left`
  return `${state}${done}: ${copiesLeft} copies to go (${copiesRunning} under way), ${handoversLeft} primaries to hand over, ${removalsLeft} copies to remove${eta}`
}

export function silenceText({ nodeId, address, reason }: SilentNode): string {
  return `missing: ${nodeId === '' ? address : `${nodeId} (${address})`}: ${reason}`
}

export function percent(part: number, whole: number): string {
  return `${Math.max(0, Math.min(100, Math.floor((100 * part) / whole)))} %`
}

export function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}

export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  const unit = Math.min(units.length, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** unit).toFixed(1)} ${units[unit - 1]}`
}
