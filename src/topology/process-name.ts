/** A process by name. A node's name alone may mean one that has died. */

import type { Incarnation, NodeId } from '../kernel/ids.ts'

export interface ProcessName {
  readonly nodeId: NodeId
  readonly incarnation: Incarnation
}
