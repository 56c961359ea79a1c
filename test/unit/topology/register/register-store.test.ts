import { describe, expect, it } from 'vitest'
import { MemoryStore } from '../../../../src/kernel/memory-store.ts'
import { SeededRandom } from '../../../../src/kernel/random.ts'
import { encodeTopology } from '../../../../src/topology/codec.ts'
import { RegisterStore } from '../../../../src/topology/register/register-store.ts'
import { makeTopology } from '../../../support/topologies.ts'

const ballot = { round: 3, proposer: 'a/1' }

describe('what a node keeps of the register', () => {
  it('is there in its next life, under the same name of the disk', async () => {
    const disk = new MemoryStore()
    const first = await RegisterStore.open(disk, new SeededRandom(1))
    expect(first.kept).toEqual({ topology: undefined, acceptor: undefined })
    const topology = makeTopology({ nodes: 3 })
    const state = { slot: 2, promised: ballot, accepted: { ballot, value: Uint8Array.from([1]) } }
    await first.saveRecord(encodeTopology(topology, 'node'), { sync: true })
    await first.saveSlot(state)
    const second = await RegisterStore.open(disk, new SeededRandom(2))
    expect(second.diskId).toBe(first.diskId)
    expect(second.kept.acceptor).toEqual(state)
    expect(second.kept.topology).toEqual(topology)
  })

  it('holds no later slot without the record before it, though the write of that failed', async () => {
    const disk = new MemoryStore()
    let fails = true
    const store = await RegisterStore.open(
      {
        get: (key) => disk.get(key),
        entries: (prefix) => disk.entries(prefix),
        close: () => disk.close(),
        write: (changes) =>
          fails && changes.length === 1 && changes[0]?.key === 'register/record'
            ? Promise.reject(new Error('full'))
            : disk.write(changes),
      },
      new SeededRandom(1),
    )
    const topology = makeTopology({ nodes: 3 })
    await expect(store.saveRecord(encodeTopology(topology, 'node'), { sync: false })).rejects.toThrow('full')
    fails = false
    await store.saveSlot({ slot: 2, promised: ballot, accepted: undefined })
    const next = await RegisterStore.open(disk, new SeededRandom(2))
    expect(next.kept.topology).toEqual(topology)
    expect(next.kept.acceptor?.promised).toEqual(ballot)
  })

  it('is refused with what to do when it can not be read', async () => {
    const disk = new MemoryStore()
    await disk.write([{ key: 'register/record', value: Uint8Array.from([9, 9, 9]) }])
    await expect(RegisterStore.open(disk, new SeededRandom(1))).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('move the directory away'),
    })
  })
})
