/**
 * Reads the configuration of a cluster. Everything that is wrong is reported at once, one line each, with file, line
 * and column: nobody should have to start a cluster five times to find five mistakes.
 */

import { readFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { CacheError } from '../kernel/errors.ts'
import { type BackupConfig, type ClusterConfig, complete, contradictions } from './cluster-config.ts'
import { problemsOf, valueAt } from './problems.ts'
import { clusterSchema } from './schema.ts'
import { objectSource, type Problem, type Source, yamlSource } from './source.ts'

/** Lines of mistakes that are shown. */
const PROBLEMS_MAX = 20
/** A configuration is read as a whole; a larger file is none. */
const FILE_BYTES_MAX = 1024 * 1024

/**
 * Reads the file at `path`. Data folders become absolute, starting at the folder of the file.
 * @throws CacheError CONFIGURATION when the file can't be read, or naming each mistake in it.
 */
export async function loadClusterConfig(path: string): Promise<ClusterConfig> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CacheError(
      'CONFIGURATION',
      `the configuration ${resolve(path)} can't be read (${reason}); name an existing file, such as cluster.yaml`,
      { cause },
    )
  }
  const config = parseClusterConfig(text, basename(path))
  const folder = dirname(resolve(path))
  return {
    ...config,
    nodes: config.nodes.map((node) => ({
      ...node,
      dataDir: node.dataDir === undefined ? undefined : resolve(folder, node.dataDir),
    })),
    ...(config.backup === undefined ? {} : { backup: fromFolder(config.backup, folder) }),
  }
}

function fromFolder(backup: BackupConfig, folder: string): BackupConfig {
  const { storage } = backup
  if (storage?.type !== 'directory') return backup
  return { ...backup, storage: { ...storage, path: resolve(folder, storage.path) } }
}

/**
 * Reads the text of a file; `fileName` appears in messages.
 * @throws CacheError CONFIGURATION naming each mistake.
 */
export function parseClusterConfig(text: string, fileName: string): ClusterConfig {
  if (text.length > FILE_BYTES_MAX) {
    throw new CacheError(
      'CONFIGURATION',
      `${fileName} has over ${FILE_BYTES_MAX} characters: is this a configuration?`,
    )
  }
  const { source, mistakes } = yamlSource(text, fileName)
  if (mistakes.length > 0) throw invalid(mistakes)
  return validate(source)
}

/**
 * The same for a value built by a program, shaped as the file is; `name` stands for the file in messages.
 * @throws CacheError CONFIGURATION naming each mistake.
 */
export function resolveClusterConfig(value: unknown, name = 'configuration'): ClusterConfig {
  return validate(objectSource(value, name))
}

function validate(source: Source): ClusterConfig {
  const result = clusterSchema.safeParse(source.value)
  const problems = result.success
    ? contradictions(result.data)
    : problemsOf(result.error.issues, clusterSchema, source.value)
  if (problems.length > 0 || !result.success) {
    throw invalid(problems.map((problem) => `${place(problem, source)}: ${problem.message}`))
  }
  return complete(result.data)
}

function place({ path, atKey, related }: Problem, source: Source): string {
  const written = related === undefined || valueAt(source.value, path) !== undefined
  return source.locate(written ? path : related, atKey)
}

function invalid(lines: readonly string[]): CacheError {
  const shown = lines.slice(0, PROBLEMS_MAX)
  if (lines.length > shown.length) shown.push(`… and ${lines.length - shown.length} more`)
  return new CacheError('CONFIGURATION', shown.join('\n'))
}
