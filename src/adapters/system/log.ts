/**
 * pino behind the Log port: one JSON object a line. Lines are written synchronously, for there are few of them and
 * the last one before a crash is the one that matters.
 */

import { destination, pino } from 'pino'
import type { Log } from '../../kernel/log.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface SystemLogOptions {
  /** Least severe level that is written. Default `info`. */
  readonly level?: LogLevel
  /** Fields that go into each line, such as the node's name. */
  readonly fields?: Readonly<Record<string, string>>
  /** A file descriptor or a file's path. Default 1, standard output. */
  readonly target?: number | string
}

export function createSystemLog(options: SystemLogOptions = {}): Log {
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: options.fields ?? {},
      timestamp: () => `,"time":"${new Date(Date.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ dest: options.target ?? 1, sync: true, mkdir: true }),
  )
  return {
    debug: (message, details) => logger.debug(details ?? {}, message),
    info: (message, details) => logger.info(details ?? {}, message),
    warn: (message, details) => logger.warn(details ?? {}, message),
    error: (message, details) => logger.error(details ?? {}, message),
  }
}
