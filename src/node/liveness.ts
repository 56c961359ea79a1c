/**
 * Who is alive, as the control plane asks for it. A verdict is about one process: its node's next incarnation is another one.
 */

export type LivenessVerdict = 'alive' | 'suspect' | 'dead' | 'left'

export interface Liveness {
  verdict(nodeId: string, incarnation: string): LivenessVerdict
  /** Whether it is certain that the process has ended, so that nothing of it is worth waiting for. */
  isProvenDead(nodeId: string, incarnation: string): boolean
}
