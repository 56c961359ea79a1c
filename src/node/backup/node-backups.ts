/** All that a node has to do with backups of the cluster: its own work on them, and the runs it sees to. */

import { PartAgent } from '../../backup/part-agent.ts'
import type { RestoreTarget } from '../../backup/restore-run.ts'
import { WatchedStore } from '../../backup/watched-store.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { Log } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
import type { Observer } from '../../observability/observer.ts'
import type { BackupStore } from '../../snapshot/backup-store.ts'
import type { Compression } from '../../snapshot/compression.ts'
import type { Topology } from '../../topology/topology.ts'
import type * as api from '../../wire/admin.ts'
import type { BackupCalls } from '../admin/admin-service.ts'
import type { DataPlane } from '../data-plane.ts'
import { BackupDesk } from './backup-desk.ts'
import { partSourceOf } from './part-source.ts'

/** Opens places of backups. */
export interface BackupMedium {
  readonly compression: Compression
  /** @param place '': as the configuration says. @throws CacheError when it can't be used */
  open(place: string): Promise<BackupStore>
}

export interface NodeBackupsPorts {
  readonly nodeId: string
  readonly address: string
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly observer: Observer
  readonly medium: BackupMedium
  /** What backups write in a second, where nobody says otherwise; 0: no limit. */
  readonly bytesPerSecond: number
  readonly target: RestoreTarget
  plane(): DataPlane | undefined
  topology(): Topology | undefined
  /** When a majority of the nodes that vote last confirmed it. */
  confirmedMs(): number
  /** Asks another node. @throws CacheError UNAVAILABLE, TIMEOUT, or what it says */
  writeParts(address: string, request: api.WritePartsRequest): Promise<api.WritePartsReply>
  /** Longest silence of a place. */
  readonly stallMs?: number
}

const STALL_MS = 60_000

export class NodeBackups implements BackupCalls {
  readonly desk: BackupDesk
  readonly #agent: PartAgent

  constructor(ports: NodeBackupsPorts) {
    const { address, scheduler, medium, stallMs = STALL_MS } = ports
    const { compression } = medium
    const open = (place: string, signal: AbortSignal | undefined): Promise<BackupStore> =>
      WatchedStore.open(medium.open(place), scheduler, stallMs, signal)
    const agent = new PartAgent({
      ...ports,
      compression,
      open,
      source: (partitions) => partSourceOf(ports.plane(), partitions),
    })
    this.#agent = agent
    this.desk = new BackupDesk({
      ...ports,
      compression,
      open,
      parts: {
        writeParts: (at, request) =>
          at === address ? askItself(agent, request) : ports.writeParts(at, request),
      },
      topology: () => {
        const topology = ports.topology()
        if (topology === undefined)
          throw new CacheError('NOT_READY', 'the cluster is still starting: no topology is agreed on yet')
        return topology
      },
    })
  }

  start(request: api.StartBackupRunRequest): api.BackupRunMessage {
    return this.desk.start(request)
  }

  look(request: api.BackupRunRequest): api.BackupRunMessage {
    return this.desk.look(request)
  }

  writeParts(request: api.WritePartsRequest): api.WritePartsReply {
    return this.#agent.ask(request)
  }

  close(): void {
    this.desk.close()
    this.#agent.close()
  }
}

async function askItself(agent: PartAgent, request: api.WritePartsRequest): Promise<api.WritePartsReply> {
  return agent.ask(request)
}
