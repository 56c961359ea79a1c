/** `npm run lockfile`: mends package-lock.json after an install from a registry that does not serve every platform. */

import { resolve } from 'node:path'
import { completeLockfile } from './check/lockfile.ts'

const added = completeLockfile(resolve(import.meta.dirname, '..'))
console.log(added.length === 0 ? 'package-lock.json is complete' : `added ${added.join(', ')}`)
