import { Command } from 'commander'
import { expect, it } from 'vitest'
import { listed } from '../../../src/cli/listed.ts'

function parse(...words: string[]): { address: readonly string[] | undefined; args: readonly string[] } {
  const command = new Command().option('-a, --address <host:port,...>', '', listed).argument('[name]')
  command.parse(words, { from: 'user' })
  return { address: command.opts<{ address?: readonly string[] }>().address, args: command.args }
}

it('reads values with commas, or given again', () => {
  expect(parse('-a', 'a:1,b:2', '-a', ' c:3 ').address).toEqual(['a:1', 'b:2', 'c:3'])
  expect(parse().address).toBeUndefined()
})

it('leaves the argument that follows alone', () => {
  expect(parse('-a', 'a:1', 'node1')).toEqual({ address: ['a:1'], args: ['node1'] })
})
