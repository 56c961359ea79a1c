/** A cluster whose nodes are killed, hung or cut off while a driver works on it. */

import type { ChaosNetwork, End } from '../../test/chaos/network/network.ts'
import type { DriverKind } from './messages.ts'

export const CLIENT: End = 'client1'

export interface FailoverTarget extends AsyncDisposable {
  /** For the report. */
  readonly name: string
  readonly driver: DriverKind
  readonly network: ChaosNetwork
  readonly addresses: readonly string[]
  /** Every process of the cluster. */
  readonly ends: readonly End[]
  /** The primary of each of these keys; undefined: there is none. */
  ownersOf(keys: readonly string[]): Promise<readonly (End | undefined)[]>
  /** Whether each key has all its copies and nothing is under way. */
  isWhole(): Promise<boolean>
  /** SIGKILL. */
  kill(node: End): Promise<void>
  restart(node: End): Promise<void>
  pause(node: End): void
  resume(node: End): void
}
