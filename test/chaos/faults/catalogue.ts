/** The faults there are, by the names that `--faults` takes. */

import type { Fault } from './fault.ts'
import { clock, disk } from './machine-faults.ts'
import { members } from './member-faults.ts'
import { away, clientCut, cut, delay, isolate, oneWay, reset } from './network-faults.ts'
import { kill, restart, rolling, stall, stop, wipe } from './process-faults.ts'

export type FaultName =
  | 'kill'
  | 'wipe'
  | 'restart'
  | 'stop'
  | 'stall'
  | 'rolling'
  | 'cut'
  | 'isolate'
  | 'away'
  | 'one-way'
  | 'client-cut'
  | 'delay'
  | 'reset'
  | 'disk'
  | 'clock'
  | 'members'

export const FAULTS: Readonly<Record<FaultName, Fault>> = {
  kill,
  wipe,
  restart,
  stop,
  stall,
  rolling,
  cut,
  isolate,
  away,
  'one-way': oneWay,
  'client-cut': clientCut,
  delay,
  reset,
  disk,
  clock,
  members,
}

export const FAULT_NAMES: readonly FaultName[] = Object.keys(FAULTS) as FaultName[]
