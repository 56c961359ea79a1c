/** What the benches' commands have in common: arguments that are wrong, `--help`, and an end on a signal. */

/** Arguments that can't be what was meant; the message names them and what is allowed. */
export class UsageError extends Error {}

export interface BenchCommand<Options> {
  readonly usage: string
  /** @throws UsageError */
  readonly parse: (args: readonly string[]) => Options | 'help'
  readonly run: (options: Options) => Promise<number>
}

/** @returns the exit code: what `run` says, 0 after `--help`, 2 for wrong arguments. */
export async function runCommand<Options extends object>(
  args: readonly string[],
  { usage, parse, run }: BenchCommand<Options>,
): Promise<number> {
  let options: Options | 'help'
  try {
    options = parse(args)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`${error.message}\n\n${usage}`)
    return 2
  }
  if (options === 'help') {
    console.log(usage)
    return 0
  }
  const interrupted = (): void => process.exit(130) // servers and drivers end with this process
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    return await run(options)
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
  }
}

/** @throws UsageError */
export function numberOf(text: string, option: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= min && value <= max))
    throw new UsageError(`${option} ${text}: give a number from ${min} to ${max}`)
  return value
}

/** @throws UsageError */
export function wholeNumberOf(text: string, option: string, min: number, max: number): number {
  const value = numberOf(text, option, min, max)
  if (!Number.isInteger(value)) throw new UsageError(`${option} ${text}: give a whole number`)
  return value
}
