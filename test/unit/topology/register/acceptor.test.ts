import { describe, expect, it } from 'vitest'
import { Acceptor } from '../../../../src/topology/register/acceptor.ts'

const low = { round: 1, proposer: 'a/1' }
const high = { round: 1, proposer: 'b/1' }
const value = new Uint8Array([1])

describe('a voter', () => {
  it('answers for the slot behind the epoch it knows, and says when it is behind or ahead', () => {
    const voter = new Acceptor('v', 4)
    expect(voter.prepare(5, low)).toMatchObject({ vote: { kind: 'promised' }, persist: true })
    expect(voter.prepare(4, low)).toMatchObject({ vote: { kind: 'decided', epoch: 4 }, persist: false })
    expect(voter.prepare(6, low)).toMatchObject({ vote: { kind: 'behind', epoch: 4 }, persist: false })
  })

  it('keeps its promise: nothing below it is promised or accepted', () => {
    const voter = new Acceptor('v', 0)
    voter.prepare(1, high)
    expect(voter.prepare(1, low)).toMatchObject({ vote: { kind: 'refused', promised: high } })
    expect(voter.accept(1, low, value)).toMatchObject({ vote: { kind: 'refused' }, persist: false })
    expect(voter.accept(1, high, value)).toMatchObject({ vote: { kind: 'accepted' }, persist: true })
  })

  it('tells a later proposer what it has accepted, also after a restart', () => {
    const voter = new Acceptor('v', 0)
    voter.accept(1, low, value)
    const again = new Acceptor('v', 0, voter.state)
    expect(again.prepare(1, high)).toMatchObject({
      vote: { kind: 'promised', accepted: { ballot: low, value } },
    })
    expect(again.highestAccepted).toBe(1)
  })

  it('forgets a slot that is decided', () => {
    const voter = new Acceptor('v', 0)
    voter.accept(1, low, value)
    voter.learned(1)
    expect(voter.highestAccepted).toBe(1)
    expect(voter.prepare(2, low)).toMatchObject({ vote: { kind: 'promised', accepted: undefined } })
    expect(new Acceptor('v', 3, voter.state).prepare(4, low)).toMatchObject({ vote: { kind: 'promised' } })
  })
})
