/**
 * Which layer may import which (docs/architecture.md). `LAYERS` is the whole law: a layer that is not listed beside
 * another may not import it. scripts/check/layers.ts runs it and makes sure that it has seen every file.
 */

/** What each folder of src may import, besides itself. */
const LAYERS = {
  kernel: [],
  wire: ['kernel'],
  engine: ['kernel'],
  membership: ['kernel', 'wire'],
  topology: ['kernel', 'wire'],
  rebalance: ['kernel', 'topology'],
  jobs: ['kernel', 'topology'],
  replication: ['kernel', 'wire', 'engine', 'topology', 'rebalance'],
  snapshot: ['kernel', 'wire', 'engine', 'topology', 'rebalance', 'replication'],
  backup: ['kernel', 'wire', 'engine', 'topology', 'rebalance', 'replication', 'snapshot'],
  observability: ['kernel', 'wire', 'topology'],
  security: ['kernel', 'wire', 'topology'],
  client: ['kernel', 'wire', 'topology', 'security', 'observability'],
  // The unary gateway of a node is a client inside its process.
  node: [
    'kernel',
    'wire',
    'engine',
    'membership',
    'topology',
    'rebalance',
    'jobs',
    'replication',
    'snapshot',
    'backup',
    'observability',
    'security',
    'client',
  ],
  config: ['kernel', 'wire', 'topology', 'jobs', 'observability', 'security'],
  admin: ['kernel', 'wire', 'topology', 'observability', 'security', 'client', 'config'],
  testing: [
    'kernel',
    'wire',
    'engine',
    'membership',
    'topology',
    'rebalance',
    'jobs',
    'replication',
    'snapshot',
    'observability',
    'security',
    'client',
    'node',
    'config',
  ],
  // Adapters implement ports. Of the upper layers they see types alone (the rule `adapters-see-types`).
  adapters: [
    'kernel',
    'wire',
    'topology',
    'client',
    'node',
    'replication',
    'snapshot',
    'observability',
    'security',
  ],
}

/** Where ports meet their adapters. They may import any layer below cli. */
const COMPOSITION_ROOTS = '^src/(node/cache-node\\.ts|client/connect\\.ts|cli/)'

/** Packages that a layer uses itself, because they compute and touch nothing outside the process. */
const PACKAGES = {
  client: ['msgpackr', 'lz4-napi', 'lru-cache'],
  snapshot: ['lz4-napi'],
  jobs: ['croner'],
  config: ['yaml', 'zod'],
  cli: ['commander'],
}

/** Modules of Node.js that compute only, so that any layer may use them. */
const PURE_CORE = '^(node:)?(assert|buffer|crypto|events|path|url|util|zlib)(/|$)'

const layerRules = Object.entries(LAYERS).map(([layer, allowed]) => ({
  name: `layer-${layer}`,
  comment: `src/${layer} may import ${allowed.length === 0 ? 'nothing else of src' : allowed.join(', ')}.`,
  severity: 'error',
  from: { path: `^src/${layer}/`, pathNot: COMPOSITION_ROOTS },
  to: { path: '^src/', pathNot: `^src/(${[layer, ...allowed].join('|')})/` },
}))

const packageRules = Object.keys({ ...LAYERS, cli: [] })
  .filter((layer) => layer !== 'adapters')
  .map((layer) => ({
    name: `packages-${layer}`,
    comment: `src/${layer} may use ${(PACKAGES[layer] ?? ['no package']).join(', ')}; the outside world belongs to src/adapters.`,
    severity: 'error',
    from: { path: `^src/${layer}/` },
    to: {
      dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'],
      ...(PACKAGES[layer] === undefined ? {} : { pathNot: `node_modules/(${PACKAGES[layer].join('|')})/` }),
    },
  }))

module.exports = {
  forbidden: [
    ...layerRules,
    ...packageRules,
    {
      name: 'known-layers',
      comment: 'A new folder of src needs a line in LAYERS.',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: `^src/(${Object.keys(LAYERS).join('|')}|cli)/` },
      to: {},
    },
    {
      name: 'adapters-see-types',
      comment: 'An adapter implements an interface of these layers; it does not run their code.',
      severity: 'error',
      from: { path: '^src/adapters/' },
      to: {
        path: '^src/(client|node|replication|snapshot|observability|security)/',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'composition-roots-below-cli',
      severity: 'error',
      from: { path: COMPOSITION_ROOTS, pathNot: '^src/cli/' },
      to: { path: '^src/(cli|testing|admin)/' },
    },
    {
      name: 'outside-world',
      comment:
        'Files, sockets, processes and timers are reached through ports; src/adapters implements them.',
      severity: 'error',
      // Reading the one configuration file needs no port: src/config/load.ts is where it happens.
      from: { path: '^src/', pathNot: '^src/(adapters/|cli/|config/load\\.ts$)' },
      to: { dependencyTypes: ['core'], pathNot: PURE_CORE },
    },
    {
      name: 'package-entries',
      comment: 'The entry points only re-export; what they show must not reach into an adapter.',
      severity: 'error',
      from: { path: '^src/[^/]+\\.ts$' },
      to: { path: '^src/(adapters|cli)/' },
    },
    {
      name: 'src-stands-alone',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|scripts|examples)/' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      comment: 'A module that imports nothing and that nothing imports.',
      severity: 'error',
      from: { orphan: true, path: '^src/', pathNot: ['^src/index\\.ts$', '^src/[^/]+/index\\.ts$'] },
      to: {},
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-packages-in-src',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|node_modules/\\.)' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
