/** `npm run docs`: writes the generated documents. `npm run check` fails while one is out of date. */

import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { generatedDocs } from './docs/generated.ts'

const root: string = resolve(import.meta.dirname, '..')

for (const { path, text } of generatedDocs()) {
  writeFileSync(join(root, path), text)
  console.log(`wrote ${path}`)
}
