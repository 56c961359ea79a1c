/** Which of several nodes is asked, and whose word counts. */

import { expect, it } from 'vitest'
import { type AdminChannelPort, adminClient } from '../../../src/admin/admin-client.ts'
import { CacheError, type ErrorCode } from '../../../src/kernel/errors.ts'

class Channel implements AdminChannelPort {
  readonly address: string
  readonly asked: string[] = []
  failure: ErrorCode | undefined

  constructor(address: string, failure?: ErrorCode) {
    this.address = address
    this.failure = failure
  }

  async call(method: string): Promise<object> {
    this.asked.push(method)
    if (this.failure !== undefined) throw new CacheError(this.failure, `${this.address} says no`)
    return { from: this.address }
  }

  close(): void {}
}

it('asks the nodes in turn until one answers, and that one first from then on', async () => {
  const channels = [new Channel('a', 'UNAVAILABLE'), new Channel('b', 'NOT_READY'), new Channel('c')]
  const api = adminClient(channels, 1000)
  expect(await api.status({})).toEqual({ from: 'c' })
  expect(await api.listNodes({})).toEqual({ from: 'c' })
  expect(channels.map(({ asked }) => asked)).toEqual([['status'], ['status'], ['status', 'listNodes']])
})

it('takes the first word of a node for an answer, for a change may be under way', async () => {
  const channels = [new Channel('a', 'OUTCOME_UNKNOWN'), new Channel('b')]
  const api = adminClient(channels, 1000)
  await expect(api.removeNode({ nodeId: 'x' })).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  expect(channels[1]?.asked).toEqual([])
})

it('says what each node said when none answers', async () => {
  const api = adminClient([new Channel('a', 'UNAVAILABLE'), new Channel('b', 'UNAVAILABLE')], 1000)
  await expect(api.status({})).rejects.toThrow('a says no\nb says no')
  await expect(adminClient([], 1000).status({})).rejects.toThrow('give --address')
})
