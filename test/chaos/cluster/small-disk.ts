/**
 * A file system of a few MiB for one node's data directory, so that it can be filled without filling the machine's. Needs root
 * (it is a tmpfs, mounted in the run's folder). What the node wrote stays while the node is down.
 */

import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const FILL_CHUNK_BYTES = 64 * 1024

/** Those of a run that is ended early are unmounted with it. */
const mounted = new Set<string>()
process.on('exit', () => {
  for (const folder of mounted) spawnSync('umount', ['-l', folder])
})

export class SmallDisk implements AsyncDisposable {
  readonly folder: string
  /** Where the node may write. */
  readonly dataDir: string

  private constructor(folder: string) {
    this.folder = folder
    this.dataDir = join(folder, 'data')
  }

  /** @returns why there can't be one here, or undefined when there can. */
  static problem(): string | undefined {
    if (process.platform !== 'linux') return 'a file system of its own for a node is made on Linux only'
    return process.getuid?.() === 0 ? undefined : 'mounting a small file system needs root'
  }

  static async mount(folder: string, mebibytes: number): Promise<SmallDisk> {
    mkdirSync(folder, { recursive: true })
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'ringcache-chaos', folder])
    mounted.add(folder)
    const disk = new SmallDisk(folder)
    mkdirSync(disk.dataDir, { recursive: true })
    return disk
  }

  /** Writes until nothing more fits: from now on writes end with ENOSPC. */
  async fill(): Promise<void> {
    const file = await open(join(this.folder, 'ballast'), 'w')
    try {
      // The smaller pieces take what the larger ones left.
      for (let bytes = FILL_CHUNK_BYTES; bytes >= 1; bytes = Math.floor(bytes / 16)) {
        const chunk = Buffer.alloc(bytes, 1)
        while (await fits(file.write(chunk, 0, chunk.length, null))) {}
      }
    } finally {
      await file.close()
    }
  }

  free(): void {
    rmSync(join(this.folder, 'ballast'), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Lazily: a process that is just ending may still have a file open.
    await run('umount', ['-l', this.folder])
    mounted.delete(this.folder)
  }
}

async function fits(write: Promise<{ bytesWritten: number }>): Promise<boolean> {
  try {
    return (await write).bytesWritten > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}
