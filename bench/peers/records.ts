/**
 * The data of the bench: one record of a user per key, about 200 bytes as msgpack, the same for every peer and every run
 * (made from the key's number alone). All of them are made beforehand, so that making them costs nothing while measuring.
 *
 * `sameRecord` compares a value that came back with the one that belongs to the key, member by member.
 */

import { SeededRandom } from '../../src/kernel/random.ts'

export interface UserRecord {
  readonly id: number
  readonly name: string
  readonly email: string
  readonly age: number
  readonly score: number
  readonly active: boolean
  readonly verified: boolean
  readonly createdAt: string
  readonly address: { readonly city: string; readonly zip: string }
  readonly roles: readonly string[]
}

const FIRST = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances', 'Tony', 'Radia'] as const
const LAST = ['Lindqvist', 'Okafor', 'Moreau', 'Tanaka', 'Silva', 'Novak', 'Haddad', 'Jansen'] as const
const CITY = ['Uppsala', 'Lagos', 'Lyon', 'Sapporo', 'Recife', 'Brno', 'Amman', 'Utrecht'] as const
const ROLES = [['reader'], ['reader', 'writer'], ['reader', 'admin'], ['guest']] as const
const YEAR_MS = 365 * 86_400_000

export interface DataSet {
  readonly keys: readonly string[]
  readonly records: readonly UserRecord[]
}

export function makeDataSet(keyCount: number): DataSet {
  const random = new SeededRandom(1)
  const keys: string[] = []
  const records: UserRecord[] = []
  for (let id = 0; id < keyCount; id++) {
    keys.push(flat(`user:${String(id).padStart(8, '0')}`))
    records.push(makeRecord(id, random))
  }
  return { keys, records }
}

function makeRecord(id: number, random: SeededRandom): UserRecord {
  const draw = random.uint32()
  const first = FIRST[draw & 7] as string
  const last = LAST[(draw >>> 3) & 7] as string
  return {
    id,
    name: flat(`${first} ${last}`),
    email: flat(`${first}.${last}.${id}@example.com`.toLowerCase()),
    age: 18 + ((draw >>> 6) % 60),
    score: random.uint32() / 0x1_0000_0000,
    active: (draw & 0x1000) !== 0,
    verified: (draw & 0x2000) !== 0,
    createdAt: new Date(Date.UTC(2020, 0) + (random.uint32() % (5 * YEAR_MS))).toISOString(),
    address: {
      city: CITY[(draw >>> 14) & 7] as string,
      zip: flat(String(10_000 + (((draw >>> 17) % 90_000) >>> 0))),
    },
    roles: [...(ROLES[(draw >>> 30) & 3] as readonly string[])],
  }
}

/** Texts put together are ropes inside V8 until their first use; these are made plain now rather than while measuring. */
function flat(text: string): string {
  return Buffer.from(text).toString('latin1')
}

export function sameRecord(actual: UserRecord | undefined, expected: UserRecord): boolean {
  return (
    actual !== undefined &&
    actual.id === expected.id &&
    actual.name === expected.name &&
    actual.email === expected.email &&
    actual.age === expected.age &&
    actual.score === expected.score &&
    actual.active === expected.active &&
    actual.verified === expected.verified &&
    actual.createdAt === expected.createdAt &&
    actual.address.city === expected.address.city &&
    actual.address.zip === expected.address.zip &&
    actual.roles.length === expected.roles.length &&
    actual.roles.every((role, at) => role === expected.roles[at])
  )
}
