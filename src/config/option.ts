/**
 * An option is a zod schema that carries its own description: what it does, what is allowed, what holds when it is left
 * out. Validation messages and docs/configuration.md are both made from it, so that neither can differ from what is
 * accepted.
 */

import { z } from 'zod'
import type { Kind } from './kinds.ts'

export interface OptionDoc {
  /** What it does, in one or two sentences. */
  readonly description: string
  /** What may stand there: completes "… is 9; allowed: ". */
  readonly allowed: string
  /** Follows `allowed` in messages: how it is written. */
  readonly example: string | undefined
  /** What holds without it: a literal as it would be written, or a phrase. */
  readonly default: string
  /** A bare number in its place is a text somebody forgot to quote. */
  readonly text: boolean
}

const docs = z.registry<OptionDoc>()

/** The description of an option; undefined for a schema that is not a single option but holds others. */
export function docOf(schema: z.ZodType): OptionDoc | undefined {
  return docs.get(schema)
}

/** An option that has a default, written as it would be in a file. */
export function option<T>(
  kind: Kind<T>,
  { description, default: value }: { description: string; default: string | number | boolean },
): z.ZodType<T> {
  // Parsed as if it stood in a file; what the schema takes there, its type does not say.
  return describe(schemaOf(kind).prefault(value as never), kind, description, String(value))
}

/** An option that something else decides when it is left out; `otherwise` names what. */
export function inherited<T>(
  kind: Kind<T>,
  { description, otherwise }: { description: string; otherwise: string },
): z.ZodType<T | undefined> {
  return describe(schemaOf(kind).optional(), kind, description, otherwise)
}

/** An option without which there is no configuration. */
export function required<T>(kind: Kind<T>, description: string): z.ZodType<T> {
  return describe(schemaOf(kind), kind, description, 'required')
}

/** A map of options. Nothing in its place, as when all its lines are commented out, is an empty map. */
export function section<T extends z.ZodRawShape>(shape: T): z.ZodType<z.output<z.ZodObject<T>>> {
  return z.preprocess((value) => value ?? {}, z.strictObject(shape)) as z.ZodType<z.output<z.ZodObject<T>>>
}

function schemaOf<T>(kind: Kind<T>): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    const parsed = kind.parse(value)
    if (parsed !== undefined) return parsed
    context.addIssue({ code: 'custom', message: `allowed: ${kind.allowed}` })
    return z.NEVER
  })
}

function describe<T>(
  schema: z.ZodType<T>,
  kind: Kind<unknown>,
  description: string,
  otherwise: string,
): z.ZodType<T> {
  docs.add(schema, {
    description,
    allowed: kind.allowed,
    example: kind.example,
    default: otherwise,
    text: kind.text,
  })
  return schema
}
