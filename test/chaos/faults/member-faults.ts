/** What operators do under load: one node more, and one less. */

import { type Fault, FaultError } from './fault.ts'

export const members: Fault = {
  about: 'a node joins, gets its share of the data, is decommissioned, and leaves',
  problem: ({ cluster }) => (cluster.spares.length === 0 ? 'there is no spare node' : undefined),
  inject: async (context) => {
    const { cluster, commandLine } = context
    const spare = cluster.spares[0]
    if (spare === undefined) throw new FaultError('there is no spare node')
    await spare.start()
    await untilMember(context, spare.id)
    await expect(commandLine.ask('cluster', 'rebalance', '--wait'))
    await context.untilSafe()
    const leading = await context.leaders()
    if (!leading.includes(spare.id)) throw new FaultError(`${spare.id} joined, but is the primary of nothing`)
    await expect(commandLine.ask('node', 'decommission', spare.id, '--wait'))
    await spare.stop()
    spare.wipe()
    return spare.id
  },
}

/** The cluster takes a node in a moment after it listens. */
async function untilMember({ commandLine }: Parameters<Fault['inject']>[0], id: string): Promise<void> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const { code } = await commandLine.ask('node', 'info', id)
    if (code === 0) return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  throw new FaultError(`${id} did not become a member`)
}

async function expect(result: Promise<{ readonly code: number; readonly output: string }>): Promise<void> {
  const { code, output } = await result
  if (code !== 0) throw new FaultError(`the command line ended ${code}: ${output.slice(0, 300)}`)
}
