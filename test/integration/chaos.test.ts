/** The chaos runner itself: short, on faults that any cluster survives. Long runs are `npm run chaos`. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { parseHistory } from '../../src/testing/history.ts'
import { PairProxy } from '../chaos/network/pair-proxy.ts'
import { parseOptions } from '../chaos/options.ts'
import { runChaos } from '../chaos/runner.ts'

const NODE_PORT = 7890
const PROXY_PORT = 7891

describe('a chaos run of a few seconds', () => {
  it('injects faults, checks what clients were told, and passes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringcache-chaos-'))
    try {
      const words =
        '--minutes 0.1 --faults stall,client-cut,kill --quiet 1 --clients 1 --seed 5 --port-base 7900'
      const options = parseOptions(words.split(' '))
      if (options === 'help') throw new Error('no help was asked for')
      const report = await runChaos(options, folder)
      expect(report.failures).toEqual([])
      expect(report.faults.length).toBeGreaterThan(0)
      expect(report.ledger.acknowledged).toBeGreaterThan(100)
      const history = parseHistory(readFileSync(join(folder, 'history.jsonl'), 'utf8'))
      expect(history.length).toBe(report.history.operations)
      expect(history.length).toBeGreaterThan(100)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 110_000)
})

describe('a proxy between two processes', () => {
  let server: Server | undefined
  let proxy: PairProxy | undefined
  const sockets = new Set<Socket>()

  afterEach(async () => {
    proxy?.close()
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
    server = undefined
  })

  /** Echoes in capitals. */
  async function open(): Promise<PairProxy> {
    const listening = createServer((socket) => {
      sockets.add(socket)
      socket.on('data', (bytes) => socket.write(bytes.toString().toUpperCase()))
      socket.on('error', () => {})
    })
    server = listening
    await new Promise<void>((resolve) => listening.listen(NODE_PORT, '127.0.0.1', resolve))
    const opened = new PairProxy(PROXY_PORT, NODE_PORT)
    proxy = opened
    opened.nodeIsUp(true)
    return opened
  }

  async function dial(): Promise<{ socket: Socket; heard: () => string; failed: () => string | undefined }> {
    let text = ''
    let code: string | undefined
    const socket = createConnection({ host: '127.0.0.1', port: PROXY_PORT })
    sockets.add(socket)
    socket.on('data', (bytes) => {
      text += bytes.toString()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code
    })
    await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve))
    return { socket, heard: () => text, failed: () => code }
  }

  async function until(isTrue: () => boolean): Promise<void> {
    for (let at = 0; !isTrue() && at < 200; at++) await sleep(10)
    expect(isTrue()).toBe(true)
  }

  it('passes bytes both ways', async () => {
    await open()
    const { socket, heard } = await dial()
    socket.write('a')
    await until(() => heard() === 'A')
  })

  it('keeps bytes back while cut, in each direction by itself, and delivers them after', async () => {
    const between = await open()
    const { socket, heard } = await dial()
    socket.write('a')
    await until(() => heard() === 'A')
    for (const direction of ['forth', 'back'] as const) {
      const before = heard()
      between.setCut(direction, true)
      socket.write('b')
      await sleep(150)
      expect(heard()).toBe(before)
      between.setCut(direction, false)
      await until(() => heard() === `${before}B`)
    }
  })

  it('lets new connections hang while cut', async () => {
    const between = await open()
    between.setCut('back', true)
    const { socket, heard } = await dial()
    socket.write('a')
    await sleep(150)
    expect(heard()).toBe('')
    between.setCut('back', false)
    await until(() => heard() === 'A')
  })

  it('delivers late, and in order, what is delayed', async () => {
    const between = await open()
    const { socket, heard } = await dial()
    socket.write('a')
    await until(() => heard() === 'A')
    between.setDelay('forth', 200)
    socket.write('b')
    await sleep(100)
    between.setDelay('forth', 0)
    socket.write('c')
    expect(heard()).toBe('A')
    await until(() => heard() === 'ABC')
  })

  it('resets connections, and refuses them while the node is down', async () => {
    const between = await open()
    const first = await dial()
    between.reset()
    await until(() => first.failed() === 'ECONNRESET')
    between.nodeIsUp(false)
    await sleep(20)
    const second = await dial()
    await until(() => second.failed() === 'ECONNREFUSED')
    between.nodeIsUp(true)
    await sleep(20)
    const third = await dial()
    third.socket.write('a')
    await until(() => third.heard() === 'A')
  })
})
