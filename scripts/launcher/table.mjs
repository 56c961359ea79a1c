/** The state of a cluster as a table for people. */

import { nodeState, pidOf, processFigures } from './node-process.mjs'

const COLOURS = { serving: 32, joining: 33, starting: 33, foreign: 33, stopped: 31 }
const HEADER = ['NODE', 'ADDRESS', 'STATE', 'PID', 'UP', 'MEMORY']

/** One row per node, the header first, and whether all of them serve. */
export async function statusOf(cluster) {
  const rows = await Promise.all(
    cluster.nodes.map(async (node) => {
      const state = await nodeState(node)
      const pid = pidOf(node)
      const figures = pid === undefined ? undefined : processFigures(pid)
      const memory = figures === undefined ? '-' : `${Math.round(figures.rssBytes / 1024 ** 2)} MiB`
      return {
        node,
        state,
        cells: [node.id, node.address, state, String(pid ?? '-'), figures?.elapsed ?? '-', memory],
      }
    }),
  )
  return { rows, allServe: rows.every(({ state }) => state === 'serving' || state === 'foreign') }
}

/** @param {boolean} colour whether the output understands ANSI colours */
export function renderTable(rows, colour) {
  const table = [HEADER, ...rows.map(({ cells }) => cells)]
  const widths = HEADER.map((_, column) => Math.max(...table.map((cells) => cells[column].length)))
  return table.map((cells, line) =>
    cells
      .map((cell, column) => {
        const padded = cell.padEnd(widths[column])
        const code = line > 0 && column === 2 ? COLOURS[cell] : undefined
        return colour && code !== undefined ? `\u001b[${code}m${padded}\u001b[0m` : padded
      })
      .join('   ')
      .trimEnd(),
  )
}
