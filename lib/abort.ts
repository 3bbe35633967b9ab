import { setMaxListeners } from 'node:events'
import type { Cancellation } from '../binding.js'
import { addon } from './addon.js'
import { SegSamError, unexpected } from './errors.js'

export interface AbortRules<T> {
  signal: AbortSignal | undefined
  /** Frees a result that arrives after the caller has been told of the abort. */
  discard?: (late: T) => void
  /** The job uses the caller's memory: reject only when it has let go of it. */
  holdsCallersMemory?: boolean
}

/**
 * Runs a native job under an `AbortSignal`. An abort drops a job that has not started; one that runs is left to end,
 * and its result discarded. Rejects with `signal.reason`.
 */
export async function abortable<T>(
  start: (cancellation?: Cancellation) => Promise<T>,
  { signal, discard, holdsCallersMemory }: AbortRules<T>,
): Promise<T> {
  throwIfAborted(signal)
  if (!signal) return start()

  const cancellation = new (addon().Cancellation)()
  let onAbort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      cancellation.cancel(signal.reason instanceof SegSamError && signal.reason.code === 'DEADLINE_EXCEEDED')
      if (!holdsCallersMemory) reject(signal.reason)
    }
  })
  // Node warns of a leak at eleven listeners; but one signal for many images is common, and each listener goes with its job.
  setMaxListeners(0, signal)
  signal.addEventListener('abort', onAbort, { once: true })
  const job = start(cancellation)
  try {
    const result = await Promise.race([job, aborted])
    signal.throwIfAborted()
    return result
  } catch (error) {
    if (!signal.aborted) throw error
    job.then(discard, () => {})
    throw signal.reason
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** @throws SegSamError `INVALID_ARGUMENT` for what is no signal; else the reason of an abort */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal === undefined) return
  if (!(signal instanceof AbortSignal)) throw unexpected('INVALID_ARGUMENT', 'signal', signal, 'an AbortSignal')
  signal.throwIfAborted()
}
