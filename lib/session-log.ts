import { z } from 'zod'
import { newCardSchema } from './classes.js'
import { SegSamError, unexpected } from './errors.js'

const pair = z.tuple([z.number(), z.number()]).readonly()
const label = z.union([z.literal(0), z.literal(1)])
const index = z.int().nonnegative()

const stepSchema = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('addPoint'), point: z.strictObject({ x: z.number(), y: z.number(), label }) }),
  z.strictObject({ action: z.literal('removePoint'), index }),
  z.strictObject({
    action: z.literal('addScribble'),
    scribble: z.strictObject({ path: z.array(pair).readonly(), label }),
  }),
  z.strictObject({ action: z.literal('removeScribble'), index }),
  z.strictObject({
    action: z.literal('setBox'),
    box: z.tuple([z.number(), z.number(), z.number(), z.number()]).readonly(),
  }),
  z.strictObject({ action: z.literal('removeBox') }),
  z.strictObject({ action: z.literal('setLasso'), lasso: z.array(pair).readonly() }),
  z.strictObject({ action: z.literal('removeLasso') }),
  z.strictObject({ action: z.literal('reset') }),
  z.strictObject({ action: z.literal('undo') }),
  z.strictObject({ action: z.literal('redo') }),
])

const side = z.int().positive()

const logSchema = z.strictObject({
  schema: z.literal(1),
  /** What the masks were made with; a replay may use another model and then gives its masks. */
  model: z.strictObject({ name: z.string(), version: z.string() }),
  /** Size of the original image in pixels. */
  image: z.strictObject({ width: side, height: side }),
  threshold: z.number(),
  /** The classes that may be named: ids, or cards of the caller; `null`: all of the model. */
  classes: z
    .array(z.union([z.string(), newCardSchema]))
    .min(1)
    .readonly()
    .nullable(),
  steps: z.array(stepSchema).readonly(),
})

/** One call of a session that succeeded: the name of the method and what it was given. */
export type SessionStep = z.infer<typeof stepSchema>

/** All that a session was told, in JSON; described in `docs/annotation.md`. */
export type SessionLog = z.infer<typeof logSchema>

/** @throws SegSamError `INVALID_ARGUMENT`, naming the entry */
export function checkedLog(log: unknown): SessionLog {
  if (typeof log !== 'object' || log === null || Array.isArray(log)) {
    throw unexpected(
      'INVALID_ARGUMENT',
      'log',
      log,
      'the object of session.toJSON()',
      'Parse its text with JSON.parse.',
    )
  }
  const { schema } = log as { schema?: unknown }
  if (schema !== 1) {
    throw unexpected('INVALID_ARGUMENT', 'log.schema', schema, '1', 'Replay it with the version that wrote it.')
  }
  const parsed = logSchema.safeParse(log)
  if (parsed.success) return parsed.data
  throw new SegSamError(
    'INVALID_ARGUMENT',
    `log is not as docs/annotation.md describes it:\n${z.prettifyError(parsed.error)}`,
  )
}
