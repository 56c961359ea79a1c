/** For each rule of the protocol, the schedules in which breaking it does harm. */

import { RULES, type Rule } from '../../../src/kernel/rule-switch.ts'
import { LEARNER_SCHEDULES } from './learners.ts'
import { LEASE_SCHEDULES } from './leases.ts'
import { OPERATION_SCHEDULES } from './operations.ts'
import { PROCESS_SCHEDULES } from './processes.ts'
import type { Schedule } from './schedule.ts'
import { SET_SCHEDULES } from './sets.ts'
import { TAKEOVER_SCHEDULES } from './takeovers.ts'

export const SCHEDULES: readonly Schedule[] = [
  ...PROCESS_SCHEDULES,
  ...TAKEOVER_SCHEDULES,
  ...SET_SCHEDULES,
  ...LEASE_SCHEDULES,
  ...LEARNER_SCHEDULES,
  ...OPERATION_SCHEDULES,
]

/** The schedules that show what a rule is for. */
export function schedulesOf(rule: Rule): readonly Schedule[] {
  return SCHEDULES.filter((schedule) => schedule.rules.includes(rule))
}

/** Rules that no schedule breaks. */
export function unshown(): Rule[] {
  return RULES.filter((rule) => schedulesOf(rule).length === 0)
}
