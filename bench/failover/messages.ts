/** What the bench and its driver process tell each other. */

import type { Samples } from '../../test/chaos/client/messages.ts'

export type DriverKind = 'ringcache' | 'redis-cluster'

export interface DriverSettings {
  readonly kind: DriverKind
  readonly addresses: readonly string[]
  /** Holds dist. */
  readonly build: string
  /** Per call; Redis clients wait as long as they do by default. */
  readonly timeoutMs: number
  readonly keys: readonly string[]
  /** Sets, and as many gets. */
  readonly perSecond: number
}

/** The topology as the driver's client knows it. */
export interface TopologyView {
  /** Node of each key's primary. */
  readonly owners: readonly (string | undefined)[]
  readonly isWhole: boolean
}

export interface DriverMethods {
  connect: { params: DriverSettings; result: null }
  run: { params: null; result: null }
  view: { params: null; result: TopologyView }
  /** The group of a sample is the index of its key. */
  stop: { params: null; result: Samples }
}
