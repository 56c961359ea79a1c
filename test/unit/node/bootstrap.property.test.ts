/**
 * Three nodes that meet, lose each other and restart in every order a seed draws, with messages under way: each takes up at
 * most one topology in its life, and a topology is founded only while all it names have accepted it.
 */

import { describe, expect, it } from 'vitest'
import { integerBetween, randomHex, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { Bootstrap, type BootstrapEffect, type Founder } from '../../../src/node/bootstrap.ts'
import { type NodeOptions, SINGLE_NODE } from '../../../src/node/options.ts'
import type { Topology } from '../../../src/topology/topology.ts'

const IDS = ['a', 'b', 'c']

type Message =
  | { kind: 'propose'; topology: Topology }
  | { kind: 'accept'; clusterId: string }
  | { kind: 'commit'; topology: Topology }
  | { kind: 'welcome'; process: Process; topology: Topology | undefined }

/** A stream from one process to another, as the first sees it: requests go out, answers come back, in order. */
interface Link {
  readonly from: Process
  readonly to: Process
  readonly out: Message[]
  readonly back: Message[]
  welcomed: boolean
}

class Process {
  readonly id: string
  readonly incarnation: string
  readonly diskId: string
  readonly bootstrap: Bootstrap
  topology: Topology | undefined
  /** Proposals it said yes to. */
  readonly accepted = new Set<string>()
  alive = true

  constructor(id: string, random: SeededRandom) {
    this.id = id
    this.incarnation = randomHex(random, 16)
    this.diskId = randomHex(random, 32)
    const options: NodeOptions = {
      ...SINGLE_NODE,
      nodeId: id,
      nodes: IDS.map((nodeId) => ({ nodeId, address: `${nodeId}:1`, zone: '' })),
      partitionCount: 3,
    }
    this.bootstrap = new Bootstrap(options, this, random)
  }
}

class World {
  readonly random: SeededRandom
  processes: Process[]
  links: Link[] = []
  commits = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.processes = IDS.map((id) => new Process(id, this.random))
  }

  /** One thing happens. */
  step(faults: boolean): void {
    const dice = uniform(this.random)
    if (faults && dice < 0.03) this.#restart()
    else if (faults && dice < 0.1) this.#breakLink()
    else if (dice < 0.3) this.#connect()
    else this.#deliver()
  }

  #restart(): void {
    const at = integerBetween(this.random, 0, 2)
    const dead = this.processes[at] as Process
    dead.alive = false
    for (const link of this.links.filter((one) => one.from === dead || one.to === dead)) this.#drop(link)
    this.processes[at] = new Process(dead.id, this.random)
  }

  #breakLink(): void {
    const link = this.links[integerBetween(this.random, 0, Math.max(0, this.links.length - 1))]
    if (link !== undefined) this.#drop(link)
  }

  #drop(link: Link): void {
    this.links = this.links.filter((one) => one !== link)
    if (link.from.alive && link.welcomed) link.from.bootstrap.lost(link.to.id)
  }

  #connect(): void {
    const from = this.processes[integerBetween(this.random, 0, 2)] as Process
    const to = this.processes[integerBetween(this.random, 0, 2)] as Process
    if (from === to || this.links.some((link) => link.from === from && link.to === to)) return
    const link: Link = { from, to, out: [], back: [], welcomed: false }
    this.links.push(link)
    link.back.push({ kind: 'welcome', process: to, topology: to.topology })
  }

  #deliver(): void {
    const busy = this.links.filter((link) => link.out.length > 0 || link.back.length > 0)
    const link = busy[integerBetween(this.random, 0, Math.max(0, busy.length - 1))]
    if (link === undefined) return
    const outward = link.back.length === 0 || (link.out.length > 0 && uniform(this.random) < 0.5)
    const message = outward ? link.out.shift() : link.back.shift()
    if (message === undefined) return
    const { from, to } = link
    switch (message.kind) {
      case 'propose':
        if (!to.bootstrap.proposed(message.topology)) return
        to.accepted.add(message.topology.clusterId)
        link.back.push({ kind: 'accept', clusterId: message.topology.clusterId })
        return
      case 'commit':
        this.#learn(to, message.topology)
        return
      case 'accept':
        this.#perform(from, from.bootstrap.accepted(to.id, message.clusterId))
        return
      case 'welcome':
        link.welcomed = true
        if (message.topology !== undefined) this.#learn(from, message.topology)
        else if (from.topology === undefined) this.#perform(from, from.bootstrap.met(to.id, message.process))
        else link.out.push({ kind: 'commit', topology: from.topology })
    }
  }

  #perform(process: Process, effect: BootstrapEffect | undefined): void {
    if (effect === undefined) return
    const own = this.links.filter((link) => link.from === process && link.welcomed)
    if (effect.kind === 'propose') {
      expect(process.id).toBe('a')
      for (const link of own) link.out.push({ kind: 'propose', topology: effect.topology })
      return
    }
    this.commits++
    for (const { nodeId, incarnation, diskId } of effect.topology.nodes) {
      const named = this.processes.find((one) => one.id === nodeId)
      // Named as it is now, and it said yes.
      expect(named?.incarnation).toBe(incarnation)
      expect(named?.diskId).toBe(diskId)
      if (named !== process) expect(named?.accepted.has(effect.topology.clusterId)).toBe(true)
    }
    this.#learn(process, effect.topology)
  }

  /** As the control plane does: the first topology is taken up, and told to those that are linked. */
  #learn(process: Process, topology: Topology): void {
    if (process.topology !== undefined) return
    process.topology = topology
    process.bootstrap.stop()
    for (const link of this.links) {
      if (link.from === process && link.welcomed) link.out.push({ kind: 'commit', topology })
    }
  }
}

const founder = (digit: string): Founder => ({ incarnation: digit.repeat(16), diskId: digit.repeat(32) })

describe('the beginning of a cluster', () => {
  it('has each process take up one topology at most, that all it names accepted, whatever happens', () => {
    let commits = 0
    let settled = 0
    for (let seed = 0; seed < 800; seed++) {
      const world = new World(seed)
      for (let i = 0; i < 60; i++) world.step(true)
      for (let i = 0; i < 400; i++) world.step(false)
      // Without faults all end up with a topology; the same one, unless two were decided before and after restarts.
      expect(world.processes.every((one) => one.topology !== undefined)).toBe(true)
      const ids = new Set(world.processes.map((one) => one.topology?.clusterId))
      expect(ids.size).toBe(1)
      commits += world.commits
      settled++
    }
    expect(commits).toBeGreaterThanOrEqual(settled)
  })

  it('waits for every node of the list, and says for whom', () => {
    const random = new SeededRandom(1)
    const a = new Process('a', random).bootstrap
    expect(a.start()).toBeUndefined()
    expect(a.missing()).toEqual(['b', 'c'])
    expect(a.met('b', founder('1'))).toBeUndefined()
    expect(a.missing()).toEqual(['c'])
    const effect = a.met('c', founder('2'))
    expect(effect?.kind).toBe('propose')
    const { clusterId } = effect?.topology ?? { clusterId: '' }
    expect(a.accepted('b', clusterId)).toBeUndefined()
    // What a process accepted counts no more once its stream is gone.
    a.lost('b')
    expect(a.accepted('c', clusterId)).toBeUndefined()
    const anew = a.met('b', founder('3'))
    expect(anew?.kind).toBe('propose')
    expect(anew?.topology.clusterId).not.toBe(clusterId)
    expect(a.accepted('c', clusterId)).toBeUndefined()
    const second = anew?.topology.clusterId ?? ''
    expect(a.accepted('c', second)).toBeUndefined()
    expect(a.accepted('b', second)?.kind).toBe('found')
    expect(a.accepted('b', second)).toBeUndefined()
    expect(a.done).toBe(true)
  })

  it('leaves proposing to the node with the lowest name, and refuses a proposal that names another process', () => {
    const random = new SeededRandom(1)
    const b = new Process('b', random)
    expect(b.bootstrap.met('a', founder('1'))).toBeUndefined()
    expect(b.bootstrap.met('c', founder('2'))).toBeUndefined()
    const a = new Process('a', random).bootstrap
    a.met('c', founder('2'))
    const old = a.met('b', founder('9'))
    expect(old?.kind).toBe('propose')
    if (old !== undefined) expect(b.bootstrap.proposed(old.topology)).toBe(false)
    a.lost('b')
    const right = a.met('b', b)
    if (right !== undefined) expect(b.bootstrap.proposed(right.topology)).toBe(true)
    expect(right?.kind).toBe('propose')
  })

  it('of a cluster of one is at once', () => {
    const bootstrap = new Bootstrap(SINGLE_NODE, founder('a'), new SeededRandom(1))
    expect(bootstrap.start()?.kind).toBe('found')
    expect(bootstrap.start()).toBeUndefined()
  })
})
