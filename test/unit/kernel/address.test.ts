import { describe, expect, it } from 'vitest'
import { isLoopback, parseAddress } from '../../../src/kernel/address.ts'

describe('an address', () => {
  it.each([
    ['127.0.0.1:7401', '127.0.0.1', 7401],
    ['localhost:1', 'localhost', 1],
    ['cache-1.example.com:65535', 'cache-1.example.com', 65_535],
    ['node_1:7401', 'node_1', 7401],
    ['[::1]:7401', '::1', 7401],
    ['[fe80::1:2]:80', 'fe80::1:2', 80],
  ])('%s has its parts', (text, host, port) => {
    expect(parseAddress(text)).toEqual({ host, port })
  })

  it.each([
    '',
    'localhost',
    ':7401',
    'a:0',
    'a:65536',
    'a:-1',
    'a:1.5',
    'a:123456',
    '::1:7401',
    '[]:1',
    '[zz]:1',
    'a b:1',
    'http://a:1',
    '-a:1',
    'a-:1',
    'a..b:1',
    '127.0.0.256:1',
    '1.2.3:1',
    '1.2.3.4.:1',
    `${'a'.repeat(64)}:1`,
    `${'a.'.repeat(200)}a:1`,
  ])('%j is none', (text) => {
    expect(parseAddress(text)).toBeUndefined()
  })

  it('is loopback only when no other machine can reach it', () => {
    expect(['localhost', 'LOCALHOST', '127.0.0.1', '127.9.9.9', '::1'].map(isLoopback)).toEqual(
      Array(5).fill(true),
    )
    expect(
      ['0.0.0.0', '::', '10.0.0.1', '127.example.com', 'localhost.example.com', ''].map(isLoopback),
    ).toEqual(Array(6).fill(false))
  })
})
