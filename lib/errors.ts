import { inspect } from 'node:util'

/** What went wrong, for a program. The message of the error says the same to a person. */
export type SegSamErrorCode =
  /** An argument or option of the wrong type or out of range. */
  | 'INVALID_ARGUMENT'
  /** Pixels that cannot be an image: a damaged file, a wrong buffer length, values that are not finite. */
  | 'INVALID_IMAGE'
  /** A prompt outside the image, not finite, empty or of the wrong form. */
  | 'INVALID_PROMPT'
  /** A class id that the bundle does not have. */
  | 'UNKNOWN_CLASS'
  /** No bundle at the path given. */
  | 'BUNDLE_NOT_FOUND'
  /** The folder is not a bundle that this version can run. */
  | 'BUNDLE_INVALID'
  /** A file of the bundle is not the one that its manifest describes: truncated, replaced or damaged. */
  | 'BUNDLE_TAMPERED'
  /** The native addon is not built, not loadable or of another version. */
  | 'ADDON_MISSING'
  /** The addon is there, but libtorch is not. */
  | 'LIBTORCH_MISSING'
  /** The device asked for does not exist or cannot be used. */
  | 'DEVICE_UNAVAILABLE'
  | 'OUT_OF_MEMORY'
  /** The model or scene has been disposed. */
  | 'DISPOSED'
  /** The job was dropped before it started. Calls with a `signal` reject with `signal.reason` instead. */
  | 'ABORTED'
  /** The call did not end within its `timeout`. */
  | 'DEADLINE_EXCEEDED'
  /** As many jobs wait for the model as its `maxQueue` allows. */
  | 'QUEUE_FULL'
  /** libtorch failed while it ran the model. */
  | 'RUNTIME'
  /** A file could not be read from disk. */
  | 'READ_FAILED'
  /** A file could not be written. */
  | 'WRITE_FAILED'
  /** Not a saved scene, or one of another version, truncated or damaged. */
  | 'SCENE_INVALID'
  /** A scene saved by a model of another bundle or precision. */
  | 'SCENE_MISMATCH'
  /** An image file of a format that is not read. */
  | 'UNSUPPORTED_FORMAT'
  /** A data set, or a file of one, that an evaluation cannot use. */
  | 'DATASET_INVALID'

/** Every error that this package raises, from TypeScript and from native code. */
export class SegSamError extends Error {
  override readonly name = 'SegSamError'
  readonly code: SegSamErrorCode

  constructor(code: SegSamErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The one wording of a wrong value: what was got, what is allowed, what to do. */
export function unexpected(
  code: SegSamErrorCode,
  what: string,
  got: unknown,
  allowed: string,
  remedy?: string,
): SegSamError {
  const message = `${what} is ${described(got)}; allowed: ${allowed}.`
  return new SegSamError(code, remedy ? `${message} ${remedy}` : message)
}

/** Short enough for one line: a typed array or a long list must not fill the terminal. */
function described(value: unknown): string {
  if (ArrayBuffer.isView(value) && 'length' in value) return `${value.constructor.name}(${value.length})`
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxArrayLength: 6,
    maxStringLength: 80,
  })
  return text.length > 160 ? `${text.slice(0, 157)}...` : text
}
