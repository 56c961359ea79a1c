/** The code in README.md and docs/client.md runs, with the package as it is built. */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const ADDRESS = "{ nodes: ['127.0.0.1:7401'] }"

/** The blocks of a document in this language. */
function blocks(document: string, language: string): string[] {
  const text = readFileSync(join(ROOT, document), 'utf8')
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code = '']) => code,
  )
}

/** Runs a module in the project's folder, where the package finds itself by its name. */
async function run(code: string, type = 'module'): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [`--input-type=${type}`, '--eval', code], {
    cwd: ROOT,
    timeout: 30_000,
  })
  return stdout.trimEnd()
}

it('the example in README.md prints what stands beside it', async () => {
  const [code = ''] = blocks('README.md', 'ts')
  const expected = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(([, printed]) => printed)
  expect(expected.length).toBeGreaterThan(3)
  expect((await run(code)).split('\n')).toEqual(expected)
})

it('every example in docs/client.md runs', async () => {
  // A member needs a cluster: embedded-member.test.ts runs that.
  const examples = blocks('docs/client.md', 'ts').filter((code) => !code.includes('join:'))
  expect(examples.length).toBeGreaterThan(5)
  const bodies = examples.map((code) =>
    code.replace(/^import .*$/gm, '').replaceAll(ADDRESS, '{ embedded: true }'),
  )
  const code = `
    import { connect } from 'ringcache'
    const cache = await connect({ embedded: true })
    const value = 'value'
    const version = await cache.set('other', value)
    const readFromDatabase = async () => 'from the database'
    ${bodies.map((body) => `{\n${body}\n}`).join('\n')}
    console.log('done')
    process.exit(0)`
  expect((await run(code)).split('\n').at(-1)).toBe('done')
})

it('CommonJS can require it', async () => {
  const [code = ''] = blocks('docs/client.md', 'js')
  const use =
    "connect({ embedded: true }).then(async (c) => { console.log(await c.has('k')); await c.close() })"
  expect(await run(`${code}\n${use}`, 'commonjs')).toBe('false')
})
