/**
 * `npm run test:services`: the tests in test/services, which compare ringcache with real servers of other makes. Missing
 * servers are installed where that is possible (scripts/install-services.sh); what stays missing is named, and the
 * tests that need it are skipped.
 */

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { prepare, root, runScript } from './prepare.mjs'
import { runTests } from './test.mjs'

const SERVERS = ['redis-server', 'memcached', 'versitygw']
const BUILT = path.join(root, '.ringcache', 'services', 'bin')

/** Where the program lies: in the PATH, or where install-services.sh puts it. */
function find(program) {
  return [...(process.env.PATH ?? '').split(path.delimiter), BUILT]
    .map((folder) => path.join(folder, program))
    .find((file) => fs.existsSync(file))
}

function installServers() {
  if (SERVERS.every((server) => find(server) !== undefined)) return
  const result = spawnSync('bash', [path.join(root, 'scripts', 'install-services.sh')], {
    stdio: ['ignore', 2, 2],
  })
  if (result.error !== undefined) console.error(`services: not installed (${result.error.message})`)
}

runScript(() => {
  prepare()
  installServers()
  for (const server of SERVERS) {
    const file = find(server)
    console.error(
      file === undefined ? `${server}: missing, the tests that need it are skipped` : `${server}: ${file}`,
    )
  }
  process.exitCode = runTests(['services'], ['--passWithNoTests', ...process.argv.slice(2)])
})
