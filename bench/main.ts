/**
 * `npm run bench -- <name>`: measurements, each with its own options (`--help`). Arguments after the name go to it; its
 * result is the exit code.
 */

interface Bench {
  run(args: readonly string[]): Promise<number>
}

const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  backup: () => import('./backup.ts'),
  engine: () => import('./engine.ts'),
  failover: () => import('./failover.ts'),
  'hit-ratio': () => import('./hit-ratio.ts'),
  idle: () => import('./idle.ts'),
  peers: () => import('./peers.ts'),
  rebalance: () => import('./rebalance.ts'),
  restart: () => import('./restart.ts'),
  snapshot: () => import('./snapshot.ts'),
}

const [name = '', ...args] = process.argv.slice(2)
const load = BENCHES[name]
if (load === undefined) {
  console.error(`npm run bench -- ${Object.keys(BENCHES).join(' | ')}   (--help for the options of each)`)
  process.exitCode = 2
} else {
  process.exitCode = await (await load()).run(args)
}
