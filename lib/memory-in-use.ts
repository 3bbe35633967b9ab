import { SegSamError } from './errors.js'

/** What running calls write to, by buffer. */
const inUse = new WeakMap<ArrayBufferLike, Set<Uint8Array>>()

/**
 * Runs a call that writes to memory of the caller's: two that do so at once would mix their masks.
 *
 * @throws SegSamError `INVALID_ARGUMENT` where a running call writes to a part of it; what `work` throws
 */
export async function writingTo<T>(out: Uint8Array | undefined, work: () => Promise<T>): Promise<T> {
  if (!out) return work()
  const { buffer } = out
  const others = inUse.get(buffer) ?? new Set()
  inUse.set(buffer, others)
  if ([...others].some((other) => overlap(other, out))) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'A running call writes to (a part of) the memory given as out. Wait for it, or give each call memory of its own.',
    )
  }
  others.add(out)
  try {
    return await work()
  } finally {
    others.delete(out)
  }
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength
}
