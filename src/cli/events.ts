/** `ringcache events tail` and `ringcache cluster events`: what happened on all nodes, in order of time. */

import { Command } from 'commander'
import { EventFeed } from '../admin/event-feed.ts'
import type { EveryNode, SilentNode } from '../admin/every-node.ts'
import { CacheError } from '../kernel/errors.ts'
import { parseDurationMs } from '../kernel/units.ts'
import { EVENT_KINDS } from '../observability/event-kinds.ts'
import { isOfKind } from '../observability/event-log.ts'
import type { EventMessage } from '../wire/admin-observability.ts'
import { pause, type SharedOptions, withEveryNode, withSharedOptions } from './connection.ts'
import { EXIT } from './exit-codes.ts'
import { listed } from './listed.ts'
import { print, silenceText } from './output.ts'
import { wholeNumber } from './whole-number.ts'

const POLL_MS = 1000
/** Nodes come and go: who there is is asked again at every so many polls. */
const POLLS_PER_FIND = 10

interface EventOptions extends SharedOptions {
  readonly since?: string
  readonly kind?: readonly string[]
  readonly lines: number
  readonly follow?: boolean
}

export function eventsCommand(): Command {
  return new Command('events')
    .description('See what happened on the nodes.')
    .addCommand(
      listCommand('tail').option('-f, --follow', 'go on, with each event as it comes, until interrupted'),
    )
}

/** Under another name and without --follow: `ringcache cluster events`. */
export function clusterEventsCommand(): Command {
  return listCommand('events')
}

function listCommand(name: string): Command {
  return withSharedOptions(new Command(name))
    .description('List the last events of all nodes, in order of time.')
    .option('--since <duration>', 'only those so old at most, such as 10m')
    .option(
      '--kind <kind,...>',
      'only these kinds, such as snapshot.failed, or snapshot for all that begin so',
      listed,
    )
    .option('-n, --lines <count>', 'how many of the newest', wholeNumber, 100)
    .action(async (options: EventOptions) => {
      const kinds = options.kind ?? []
      checkKinds(kinds)
      const withinMs = options.since === undefined ? 0 : parseDurationMs(options.since, '--since')
      const feed = new EventFeed({ withinMs, kinds })
      await withEveryNode(options, async (nodes) => {
        if (options.follow === true) await follow(nodes, feed, options)
        else await show(nodes, feed, options)
      })
    })
}

async function show(nodes: EveryNode, feed: EventFeed, options: EventOptions): Promise<void> {
  await nodes.find()
  const { answers, missing } = await nodes.ask('listEvents', ({ nodeId }) => feed.requestFor(nodeId))
  const events = newest(feed.take(answers), options.lines)
  print(options, { events: events.map(eventJson), missing }, () =>
    events.length === 0 ? 'nothing happened' : events.map(eventText).join('\n'),
  )
  for (const node of missing) console.error(silenceText(node))
  if (missing.length > 0) process.exitCode = EXIT.unreachable
}

/** Each event is a line, in JSON, too. A node that does not answer is named once, until it answers again. */
async function follow(nodes: EveryNode, feed: EventFeed, options: EventOptions): Promise<never> {
  // Whoever reads has read enough.
  process.stdout.on('error', () => process.exit(EXIT.done))
  let silent: readonly SilentNode[] = []
  for (let poll = 0; ; poll++) {
    if (poll % POLLS_PER_FIND === 0) await nodes.find()
    const { answers, missing } = await asked(nodes, feed, poll > 0)
    const fresh = feed.take(answers)
    for (const event of poll === 0 ? newest(fresh, options.lines) : fresh)
      console.log(options.output === 'json' ? JSON.stringify(eventJson(event)) : eventText(event))
    for (const node of missing) if (!isAmong(node, silent)) console.error(silenceText(node))
    for (const node of silent) if (!isAmong(node, missing)) console.error(`${node.nodeId} answers again`)
    silent = missing
    await pause(POLL_MS)
  }
}

/** Once there was an answer, a cluster that is away is waited for. */
async function asked(nodes: EveryNode, feed: EventFeed, isKnown: boolean): ReturnType<typeof ask> {
  try {
    return await ask(nodes, feed)
  } catch (error) {
    if (!isKnown || !(error instanceof CacheError)) throw error
    const missing = (await nodes.find()).map((node) => ({ ...node, reason: 'no node answers' }))
    return { answers: [], missing }
  }
}

function ask(nodes: EveryNode, feed: EventFeed): ReturnType<typeof nodes.ask<'listEvents'>> {
  return nodes.ask('listEvents', ({ nodeId }) => feed.requestFor(nodeId))
}

/** @throws CacheError INVALID_ARGUMENT when there is no such kind */
function checkKinds(kinds: readonly string[]): void {
  const known = Object.keys(EVENT_KINDS)
  const wrong = kinds.find((kind) => !known.some((one) => isOfKind(one, kind)))
  if (wrong === undefined) return
  throw new CacheError(
    'INVALID_ARGUMENT',
    `there is no kind ${wrong} of events; there are ${known.join(', ')}`,
  )
}

function newest(events: readonly EventMessage[], count: number): readonly EventMessage[] {
  return events.slice(Math.max(0, events.length - count))
}

function isAmong({ address }: SilentNode, nodes: readonly SilentNode[]): boolean {
  return nodes.some((node) => node.address === address)
}

function eventJson(event: EventMessage): object {
  return { ...event, details: JSON.parse(event.details) as object }
}

function eventText({ timeMs, severity, nodeId, kind, message, count, lastMs }: EventMessage): string {
  const again = count === 1 ? '' : ` (${count} times, last ${timeText(lastMs)})`
  return `${timeText(timeMs)}  ${severity.padEnd(7)}  ${nodeId}  ${kind}  ${message}${again}`
}

function timeText(ms: number): string {
  return new Date(ms).toISOString()
}
