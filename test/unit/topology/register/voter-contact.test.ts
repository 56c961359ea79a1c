import { describe, expect, it } from 'vitest'
import { VoterContact } from '../../../../src/topology/register/voter-contact.ts'

const VOTERS = ['a', 'b', 'c']

describe('contact with the voters', () => {
  it('is proven by a majority, and counts from the sending of the round', () => {
    const contact = new VoterContact()
    expect(contact.contactMs).toBe(Number.NEGATIVE_INFINITY)
    const round = contact.begin(100, 5)
    contact.heard({ round, voter: 'a', epoch: 5, accepted: 5 }, 5, VOTERS)
    expect(contact.contactMs).toBe(Number.NEGATIVE_INFINITY)
    // The same voter twice is no majority, nor is a stranger.
    contact.heard({ round, voter: 'a', epoch: 5, accepted: 5 }, 5, VOTERS)
    contact.heard({ round, voter: 'x', epoch: 5, accepted: 5 }, 5, VOTERS)
    expect(contact.contactMs).toBe(Number.NEGATIVE_INFINITY)
    contact.heard({ round, voter: 'c', epoch: 5, accepted: 5 }, 5, VOTERS)
    expect(contact.contactMs).toBe(100)
  })

  it('is void with voters that have accepted a later epoch', () => {
    const contact = new VoterContact()
    const round = contact.begin(100, 5)
    contact.heard({ round, voter: 'a', epoch: 5, accepted: 5 }, 5, VOTERS)
    contact.heard({ round, voter: 'b', epoch: 5, accepted: 6 }, 5, VOTERS)
    expect(contact.contactMs).toBe(Number.NEGATIVE_INFINITY)
  })

  it('of a round that was begun under an earlier epoch says nothing', () => {
    const contact = new VoterContact()
    const round = contact.begin(100, 5)
    for (const voter of VOTERS) contact.heard({ round, voter, epoch: 5, accepted: 5 }, 6, VOTERS)
    expect(contact.contactMs).toBe(Number.NEGATIVE_INFINITY)
  })

  it('does not go back when an earlier round is answered late', () => {
    const contact = new VoterContact()
    const early = contact.begin(100, 5)
    const late = contact.begin(200, 5)
    for (const voter of VOTERS) contact.heard({ round: late, voter, epoch: 5, accepted: 5 }, 5, VOTERS)
    for (const voter of VOTERS) contact.heard({ round: early, voter, epoch: 5, accepted: 5 }, 5, VOTERS)
    expect(contact.contactMs).toBe(200)
  })
})
