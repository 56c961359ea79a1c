/**
 * Small questions from one node to another on the control streams: what a job needs done elsewhere. A call ends with the answer, when
 * its time is over, or as soon as the stream breaks; it is not repeated, and may have been heard all the same.
 */

import { CacheError, ERROR_KINDS, type ErrorCode, toCacheError } from '../../kernel/errors.ts'
import type { Scheduler, Timer } from '../../kernel/scheduler.ts'
import type { ControlMessage } from '../../wire/control-frames.ts'

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** @param signal fires when whoever asked waits no longer */
export type CallHandler = (request: object, signal: AbortSignal) => Promise<object>

/** A stream to another node. */
export interface CallLink {
  /** @returns false when nobody is there to hear it. */
  send(message: ControlMessage): boolean
}

export interface NodeCallsPorts {
  readonly scheduler: Scheduler
  linkTo(nodeId: string): CallLink | undefined
}

type Call = Extract<ControlMessage, { kind: 'call' }>
type Called = Extract<ControlMessage, { kind: 'called' }>

interface Pending {
  readonly link: CallLink
  end(outcome: object | CacheError): void
}

const PENDING_MAX = 256
const SERVING_MAX = 64
const TEXT_BYTES_MAX = 256 * 1024

export class NodeCalls {
  readonly #nodeId: string
  readonly #ports: NodeCallsPorts
  readonly #handlers = new Map<string, CallHandler>()
  readonly #pending = new Map<number, Pending>()
  #serving = 0
  #last = 0
  #closed = false

  constructor(nodeId: string, ports: NodeCallsPorts) {
    this.#nodeId = nodeId
    this.#ports = ports
  }

  /** Answers calls of this topic, from other nodes and from this one. */
  serve(topic: string, handler: CallHandler): void {
    this.#handlers.set(topic, handler)
  }

  /** @throws CacheError UNAVAILABLE, TIMEOUT, ABORTED, OVERLOADED, UNSUPPORTED when the node knows no such topic; what it says */
  async call(nodeId: string, topic: string, request: object, options: CallOptions): Promise<object> {
    const { timeoutMs, signal } = options
    if (signal?.aborted === true) throw new CacheError('ABORTED', 'the call was given up')
    if (nodeId === this.#nodeId)
      return this.#timed(timeoutMs, (limit) => this.#handle(topic, request, limit), signal)
    const link = this.#ports.linkTo(nodeId)
    if (link === undefined)
      throw new CacheError('UNAVAILABLE', `${nodeId} can't be reached`, { node: nodeId })
    if (this.#closed || this.#pending.size >= PENDING_MAX)
      throw new CacheError('OVERLOADED', `${PENDING_MAX} calls to other nodes are under way`)
    const call = ++this.#last
    const message = {
      kind: 'call',
      call,
      topic,
      timeoutMs: Math.ceil(timeoutMs),
      request: encode(request),
    } as const
    return this.#timed(
      timeoutMs,
      (limit) =>
        new Promise<object>((resolve, reject) => {
          const end = (outcome: object): void => {
            if (!this.#pending.delete(call)) return
            if (outcome instanceof CacheError) reject(outcome)
            else resolve(outcome)
          }
          this.#pending.set(call, { link, end })
          limit.addEventListener('abort', () => end(limit.reason as CacheError), { once: true })
          if (!link.send(message)) end(new CacheError('UNAVAILABLE', `${nodeId} can't be reached`))
        }),
      signal,
    )
  }

  /** Another node calls. */
  asked(message: Call, answer: (message: Called) => void): void {
    const { call, topic, timeoutMs } = message
    const work = async (signal: AbortSignal): Promise<object> =>
      this.#handle(topic, decode(message.request), signal)
    this.#timed(timeoutMs, work)
      .then(encode)
      .then(
        (reply) => answer({ kind: 'called', call, ok: true, reply }),
        (error: unknown) => {
          const { code, message: reason } = toCacheError(error)
          answer({ kind: 'called', call, ok: false, reply: encode({ code, message: reason }) })
        },
      )
  }

  answered(message: Called, link: CallLink): void {
    const pending = this.#pending.get(message.call)
    if (pending?.link !== link) return
    const reply = decode(message.reply)
    pending.end(message.ok ? reply : errorOf(reply))
  }

  lost(link: CallLink): void {
    for (const pending of [...this.#pending.values()]) {
      if (pending.link === link) pending.end(new CacheError('UNAVAILABLE', 'the stream to the node broke'))
    }
  }

  close(): void {
    this.#closed = true
    for (const pending of [...this.#pending.values()])
      pending.end(new CacheError('CLOSED', 'the node is stopping'))
  }

  async #handle(topic: string, request: object, signal: AbortSignal): Promise<object> {
    const handler = this.#handlers.get(topic)
    if (handler === undefined)
      throw new CacheError('UNSUPPORTED', `${this.#nodeId} does not know how to do ${topic}: is it older?`)
    if (this.#serving >= SERVING_MAX)
      throw new CacheError(
        'OVERLOADED',
        `${this.#nodeId} answers ${SERVING_MAX} calls of other nodes already`,
      )
    this.#serving++
    try {
      return await handler(request, signal)
    } finally {
      this.#serving--
    }
  }

  async #timed(
    timeoutMs: number,
    work: (limit: AbortSignal) => Promise<object>,
    signal?: AbortSignal,
  ): Promise<object> {
    const limit = new AbortController()
    let giveUp: ((error: CacheError) => void) | undefined
    const over = new Promise<never>((_, reject) => {
      giveUp = (error) => {
        limit.abort(error)
        // Whoever works on it may not heed the signal.
        reject(error)
      }
    })
    const timer: Timer = this.#ports.scheduler.after(timeoutMs, () =>
      giveUp?.(new CacheError('TIMEOUT', `no answer within ${Math.round(timeoutMs)} ms`)),
    )
    const aborted = (): void => giveUp?.(new CacheError('ABORTED', 'the call was given up'))
    signal?.addEventListener('abort', aborted, { once: true })
    try {
      return await Promise.race([work(limit.signal), over])
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', aborted)
    }
  }
}

function encode(value: object): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(value))
  if (bytes.length > TEXT_BYTES_MAX)
    throw new CacheError('INTERNAL', `a call between nodes has ${bytes.length} bytes`)
  return bytes
}

/** @throws CacheError PROTOCOL_ERROR */
function decode(bytes: Uint8Array): object {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString())
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Said below.
  }
  throw new CacheError('PROTOCOL_ERROR', 'a call between nodes holds no object')
}

function errorOf(reply: object): CacheError {
  const { code, message } = reply as { code?: unknown; message?: unknown }
  const isKnown = typeof code === 'string' && Object.hasOwn(ERROR_KINDS, code)
  return new CacheError(
    isKnown ? (code as ErrorCode) : 'INTERNAL',
    typeof message === 'string' ? message : 'the other node failed',
  )
}
