/**
 * A server of the S3 protocol for tests: versitygw (https://github.com/versity/versitygw), a process of its own that checks
 * signatures and keeps objects in a folder; and a proxy of ours before it that fails on demand.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const PROGRAM = resolve(import.meta.dirname, '../../.ringcache/services/bin/versitygw')

export const s3ServerInstalled: boolean = existsSync(PROGRAM)
export const S3_KEY = 'ringcache'
export const S3_SECRET = 'only-for-tests'
export const BUCKET = 'backups'
const START_MS_MAX = 15_000

export class S3Server {
  readonly endpoint: string
  readonly #process: ChildProcess
  readonly #folder: string

  private constructor(endpoint: string, process: ChildProcess, folder: string) {
    this.endpoint = endpoint
    this.#process = process
    this.#folder = folder
  }

  static async start(): Promise<S3Server> {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'ringcache-s3-'))
    // A folder in its own is a bucket.
    mkdirSync(join(folder, 'data', BUCKET), { recursive: true })
    mkdirSync(join(folder, 'about'))
    const child = spawn(
      PROGRAM,
      [
        '--port',
        `127.0.0.1:${port}`,
        '--quiet',
        'posix',
        '--sidecar',
        join(folder, 'about'),
        join(folder, 'data'),
      ],
      {
        stdio: 'ignore',
        cwd: folder,
        env: { ...process.env, ROOT_ACCESS_KEY_ID: S3_KEY, ROOT_SECRET_ACCESS_KEY: S3_SECRET },
      },
    )
    const server = new S3Server(`http://127.0.0.1:${port}`, child, folder)
    await server.#answers()
    return server
  }

  async stop(): Promise<void> {
    const ended = new Promise((settle) => this.#process.once('exit', settle))
    this.#process.kill('SIGKILL')
    await ended
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #answers(): Promise<void> {
    const untilMs = Date.now() + START_MS_MAX
    for (;;) {
      try {
        await fetch(this.endpoint)
        return
      } catch (error) {
        if (Date.now() > untilMs) throw error
        await new Promise((settle) => setTimeout(settle, 50))
      }
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const { port } = server.address() as AddressInfo
  await new Promise((settle) => server.close(settle))
  return port
}

/** What becomes of a request. `cut-answer`: the connection breaks off after some bytes of the answer. */
export type S3Fault = 'none' | 'error-500' | 'slow-down-503' | 'cut' | 'cut-answer' | 'hang'

const CUT_AFTER_BYTES = 700_000

/** Passes requests on to `target`, except where `faultOf` says otherwise. */
export class FaultyS3 {
  requests = 0
  readonly #server: ReturnType<typeof createHttpServer>

  constructor(target: string, faultOf: (method: string, number: number, path: string) => S3Fault) {
    this.#server = createHttpServer((incoming, answer) => {
      const number = ++this.requests
      const fault = faultOf(incoming.method ?? '', number, incoming.url ?? '')
      if (fault === 'none' || fault === 'cut-answer') pass(target, incoming, answer, fault === 'cut-answer')
      else if (fault === 'cut') incoming.socket.destroy()
      else if (fault !== 'hang') refuse(incoming, answer, fault)
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((settle) => this.#server.listen(0, '127.0.0.1', settle))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((settle) => this.#server.close(settle))
  }
}

function refuse(incoming: IncomingMessage, answer: ServerResponse, fault: S3Fault): void {
  const [status, code] = fault === 'slow-down-503' ? [503, 'SlowDown'] : [500, 'InternalError']
  incoming.resume()
  incoming.on('end', () => {
    answer.writeHead(status, { 'content-type': 'application/xml' })
    answer.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as asked</Message></Error>`)
  })
}

function pass(target: string, incoming: IncomingMessage, answer: ServerResponse, cutsAnswer: boolean): void {
  const onward = request(
    new URL(incoming.url ?? '/', target),
    // The signature covers the host that the client named.
    { method: incoming.method, headers: incoming.headers },
    (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers)
      let bytes = 0
      response.on('data', (piece: Buffer) => {
        bytes += piece.length
        if (cutsAnswer && bytes > CUT_AFTER_BYTES) incoming.socket.destroy()
        else if (!answer.write(piece)) {
          response.pause()
          answer.once('drain', () => response.resume())
        }
      })
      response.on('end', () => answer.end())
    },
  )
  onward.on('error', () => incoming.socket.destroy())
  incoming.pipe(onward)
}
