/** Which peers can be measured here, and for the others why not and what would help. */

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { INSTALL_COMMAND, installLibraries, libraryVersion } from './library.ts'
import type { PeerName } from './peer.ts'
import { PEERS, SERVER_PROGRAM } from './registry.ts'
import { missingRingcache } from './servers/ringcache.ts'

export interface Availability {
  readonly available: readonly PeerName[]
  /** Peer → reason and remedy, one line each. */
  readonly skipped: Readonly<Record<string, string>>
}

export async function findAvailable(peers: readonly PeerName[], install: boolean): Promise<Availability> {
  let installProblem: string | undefined
  if (install && peers.some(lacksLibrary)) {
    console.log(`installing the other clients: ${INSTALL_COMMAND}`)
    installProblem = await installLibraries()
  }
  const available: PeerName[] = []
  const skipped: Record<string, string> = {}
  for (const peer of peers) {
    const reason = whyNot(peer, installProblem)
    if (reason === undefined) available.push(peer)
    else skipped[peer] = reason
  }
  return { available, skipped }
}

function lacksLibrary(peer: PeerName): boolean {
  const { library } = PEERS[peer]
  return library !== undefined && libraryVersion(library) === undefined
}

function whyNot(peer: PeerName, installProblem: string | undefined): string | undefined {
  const { library, servers } = PEERS[peer]
  if (servers === 'ringcache') return missingRingcache()
  const program = SERVER_PROGRAM[servers]
  if (program !== undefined && !isInPath(program)) {
    return `${program} is not installed: run scripts/install-services.sh as root, or install it by hand`
  }
  if (lacksLibrary(peer)) {
    const detail = installProblem === undefined ? '' : ` (${installProblem})`
    return `the npm package ${library} is not installed: run ${INSTALL_COMMAND}${detail}`
  }
  return undefined
}

function isInPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)))
}
