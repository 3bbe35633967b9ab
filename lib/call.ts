import { setMaxListeners } from 'node:events'
import { performance } from 'node:perf_hooks'
import type { Cancellation, Schedule } from '../binding.js'
import { type AbortRules, abortable, throwIfAborted } from './abort.js'
import { SegSamError, unexpected } from './errors.js'

/** How a call waits for the device, and for how long. */
export interface CallOptions {
  /**
   * `interactive` (default) goes before `batch`. Batch work does not starve: while some of it waits, every fifth run of
   * the model is batch work. Within either, images to encode let others go before them, four runs in a row at most. All
   * models on a device share its queue.
   */
  priority?: 'interactive' | 'batch'
  /**
   * Milliseconds from the call, above 0. A call that has not ended by then rejects with `DEADLINE_EXCEEDED`: what has not
   * started is dropped, what runs is left to end and its result discarded.
   */
  timeout?: number
  /** Drops what has not started, then rejects with `signal.reason`. */
  signal?: AbortSignal
}

export const CALL_OPTIONS = ['priority', 'timeout', 'signal'] as const satisfies (keyof CallOptions)[]

/** The longest that a timer of Node can wait. */
const MAX_TIMEOUT = 2 ** 31 - 1

/** One call of the public API, whatever the number of its jobs. */
export class Call {
  readonly priority: 'interactive' | 'batch'
  /** Aborts with the caller's signal, and with a SegSamError when the timeout has passed. */
  readonly signal: AbortSignal | undefined
  readonly #timeout: number | undefined
  readonly #deadline: number | undefined
  #isLetIn = false

  private constructor({ priority = 'interactive', timeout }: CallOptions, signal: AbortSignal | undefined) {
    this.priority = priority
    this.signal = signal
    this.#timeout = timeout
    this.#deadline = timeout === undefined ? undefined : performance.now() + timeout
  }

  /** @throws SegSamError `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`; the reason of an abort; what `work` throws */
  static async run<T>(options: CallOptions, work: (call: Call) => Promise<T>): Promise<T> {
    const { timeout, signal } = options
    check(options)
    if (timeout === undefined) return work(new Call(options, signal))

    const controller = new AbortController()
    const onAbort = () => controller.abort(signal!.reason)
    // As in `abortable`: one signal for many calls is common.
    if (signal) setMaxListeners(0, signal)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(() => controller.abort(deadlineExceeded(timeout)), timeout)
    try {
      return await work(new Call(options, controller.signal))
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /**
   * Runs a job of this call, under its signal and in its lane. The queue may refuse the first one: those that follow are
   * let in, so that no work is thrown away.
   *
   * @throws SegSamError additionally `QUEUE_FULL`
   */
  async job<T>(
    start: (schedule: Schedule, cancellation?: Cancellation) => Promise<T>,
    rules: Omit<AbortRules<T>, 'signal'> = {},
  ): Promise<T> {
    const schedule = {
      priority: this.priority,
      timeout: this.#deadline === undefined ? null : this.#deadline - performance.now(),
      limited: !this.#isLetIn,
    }
    this.#isLetIn = true
    try {
      return await abortable((cancellation) => start(schedule, cancellation), { ...rules, signal: this.signal })
    } catch (error) {
      throw this.#worded(error)
    }
  }

  #worded(error: unknown): unknown {
    if (!(error instanceof SegSamError) || error === this.signal?.reason) return error
    if (error.code === 'DEADLINE_EXCEEDED') return deadlineExceeded(this.#timeout!)
    if (error.code !== 'QUEUE_FULL') return error
    return new SegSamError(
      'QUEUE_FULL',
      `The queue of the model is full: ${error.message}. Try again later, send less at once, or raise maxQueue in SegSam.load.`,
    )
  }
}

function check({ priority, timeout, signal }: CallOptions): void {
  throwIfAborted(signal)
  if (priority !== undefined && priority !== 'interactive' && priority !== 'batch') {
    throw unexpected('INVALID_ARGUMENT', 'priority', priority, "'interactive' or 'batch'")
  }
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout > 0 && timeout <= MAX_TIMEOUT)) {
    throw unexpected('INVALID_ARGUMENT', 'timeout', timeout, `milliseconds above 0, at most ${MAX_TIMEOUT}`)
  }
}

function deadlineExceeded(timeout: number): SegSamError {
  return new SegSamError(
    'DEADLINE_EXCEEDED',
    `The call did not end within its timeout of ${timeout} ms. Allow more time, or send less at once: model.stats() tells what waits.`,
  )
}
