/**
 * The network between the processes of a chaos run: nodes and clients are *ends*, and the way from one end to another can be
 * cut, slowed down or reset, each direction by itself.
 *
 * There are three. `ProxyNetwork` needs no rights: a TCP proxy for every pair of ends. `NamespaceNetwork` needs root on Linux:
 * every end lives in a network namespace of its own and packets are dropped on the way, so that the real TCP of both ends meets
 * the cut (lost packets, retransmissions, connects that hang). `DirectNetwork` has nothing in between and can't be disturbed.
 *
 * In all of them a node has one address, the one that it listens at and that the topology carries.
 */

/** A node or a client by its name. */
export type End = string

/** What to start a process with, so that it is at one end. */
export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export type NetworkKind = 'proxy' | 'namespaces' | 'direct'

export interface ChaosNetwork extends AsyncDisposable {
  readonly kind: NetworkKind
  /** What `cut` and the others can do here. */
  readonly abilities: { readonly cut: boolean; readonly delay: boolean; readonly reset: boolean }
  /** One line for the report. */
  readonly about: string
  /** Must be called once for each end before anything is launched there. Nodes are ends with a port. */
  addNode(node: End): Promise<void>
  addClient(client: End): Promise<void>
  /** `host:port` at which a node listens and is reached. */
  addressOf(node: End): string
  /** Runs `command` at an end. */
  launch(end: End, command: string, args: readonly string[]): Launch
  /** The process of a node listens now, or is gone. */
  nodeIsUp(node: End, up: boolean): void
  /** Nothing that `from` sends reaches `to` any more, and nothing is said about it. */
  cut(from: End, to: End): Promise<void>
  /** Ends cuts and delays from `from` to `to`. */
  heal(from: End, to: End): Promise<void>
  /** Bytes from `from` arrive at `to` this much later. */
  delay(from: End, to: End, delayMs: number): Promise<void>
  /** Every connection between the two is reset. */
  reset(one: End, other: End): Promise<void>
}
