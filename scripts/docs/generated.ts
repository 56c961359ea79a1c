/** The documents that are made from code. */

import { configurationDoc } from './configuration.ts'
import { observabilityDoc } from './observability.ts'

export interface GeneratedDoc {
  /** Relative to the root of the project. */
  readonly path: string
  readonly text: string
}

export function generatedDocs(): GeneratedDoc[] {
  return [
    { path: 'docs/configuration.md', text: configurationDoc() },
    { path: 'docs/observability.md', text: observabilityDoc() },
  ]
}
