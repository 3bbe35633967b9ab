import { abortable } from './abort.js'
import { CALL_OPTIONS, Call, type CallOptions } from './call.js'
import type { NewClassCard } from './classes.js'
import { SegSamError, unexpected } from './errors.js'
import type { LogitsFrame } from './lasso.js'
import { checkedStep, type MarkStep, type Marks, marked, type NewStep, NO_MARKS, promptOf, refines } from './marks.js'
import { checkOptions } from './options.js'
import type { Box, MaskLogits, Point, Prompt } from './prompts.js'
import type { Hit, Scene } from './scene.js'
import type { Path, Scribble } from './scribble.js'
import { checkedLog, type SessionLog, type SessionStep } from './session-log.js'

export interface SessionOptions {
  /** Logits above it are foreground. Default 0, as in SAM. */
  threshold?: number
  /** The classes that may be named, as in `scene.segment`. Default: all of the model, as they are at each step. */
  classes?: readonly (string | NewClassCard)[]
}

/** A step that is given up leaves the session as it was. */
export type StepOptions = CallOptions

/** What {@link Session} needs to know of its scene. @internal */
export interface SessionSettings {
  frame: LogitsFrame
  model: { name: string; version: string }
  threshold: number
  classes: readonly (string | NewClassCard)[] | null
}

interface State {
  marks: Marks
  prompt: Prompt | null
  hit: Hit | null
  /** A copy for us alone: those of the hit may have been changed or transferred by the caller. */
  logits: MaskLogits | null
}

const START: State = { marks: NO_MARKS, prompt: null, hit: null, logits: null }

/**
 * One object, outlined step by step as in an annotation tool. Made by `scene.session()`.
 *
 * A step that only adds (a point, a scribble, a first box) refines: the logits of the best mask so far go back into the
 * model, as in SAM's training (Kirillov et al. 2023, arXiv 2304.02643, appendix A). A step that takes something back
 * or draws a lasso starts afresh from all the marks there are. A lone click gives three masks, of which `hit.mask` is the
 * best; every other prompt gives one.
 *
 * Calls are taken one after the other, in the order in which they were made. One that fails changes nothing. All steps
 * reject with SegSamError `INVALID_PROMPT`, `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`,
 * `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`.
 */
export class Session {
  readonly #scene: Scene
  readonly #settings: SessionSettings
  readonly #steps: SessionStep[] = []
  /** The states that undo and redo can reach; the current one is at `#at`. */
  #history: readonly State[] = [START]
  #at = 0
  /** Settles when every call made so far has ended. */
  #ended: Promise<unknown> = Promise.resolve()

  /** @internal */
  constructor(scene: Scene, settings: SessionSettings) {
    this.#scene = scene
    this.#settings = settings
  }

  /**
   * A new session on which the steps of a log have been taken. With the same image, model, device and precision it has
   * the same masks, within rounding where another number of cores computes; what was undone can be redone.
   *
   * @throws SegSamError `INVALID_ARGUMENT` or `INVALID_PROMPT`, naming the entry; and what the steps raise
   */
  static async replay(scene: Scene, log: SessionLog, options: StepOptions = {}): Promise<Session> {
    if (typeof scene?.session !== 'function') throw unexpected('INVALID_ARGUMENT', 'scene', scene, 'a Scene')
    checkOptions(options, CALL_OPTIONS)
    const { image, threshold, classes, steps } = checkedLog(log)
    if (image.width !== scene.width || image.height !== scene.height) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'log.image',
        `${image.width} x ${image.height}`,
        `the size of the scene, ${scene.width} x ${scene.height}`,
        'Encode the image that the log was made on.',
      )
    }
    const session = scene.session({ threshold, ...(classes ? { classes } : {}) })
    for (const [i, step] of steps.entries()) {
      try {
        if (step.action === 'undo' && !session.canUndo) throw nothingTo('undo')
        if (step.action === 'redo' && !session.canRedo) throw nothingTo('redo')
        await session.#take(step, options)
      } catch (cause) {
        if (!(cause instanceof SegSamError)) throw cause
        throw new SegSamError(cause.code, `log.steps[${i}] (${step.action}): ${cause.message}`, { cause })
      }
    }
    return session
  }

  /** The object as it is now; `null` where nothing is marked. Kept for undo: do not change or transfer its masks. */
  get hit(): Hit | null {
    return this.#state.hit
  }

  get marks(): Marks {
    return this.#state.marks
  }

  /** What the model was asked for the current hit, with the logits that were fed back as its `mask`. */
  get prompt(): Prompt | null {
    return this.#state.prompt
  }

  get canUndo(): boolean {
    return this.#at > 0
  }

  get canRedo(): boolean {
    return this.#at < this.#history.length - 1
  }

  /** Every step taken so far, undone ones included, to be replayed. Neither pixels nor results. */
  get log(): SessionLog {
    const { frame, model, threshold, classes } = this.#settings
    const { width, height } = frame
    return { schema: 1, model: { ...model }, image: { width, height }, threshold, classes, steps: [...this.#steps] }
  }

  /** {@link log}, so that `JSON.stringify(session)` writes it. */
  toJSON(): SessionLog {
    return this.log
  }

  async addPoint(point: Point, options?: StepOptions): Promise<Hit> {
    return this.#take({ action: 'addPoint', point }, options) as Promise<Hit>
  }

  /** @param index place in `marks.points` */
  async removePoint(index: number, options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'removePoint', index }, options)
  }

  /** Becomes at most eight clicks, spaced evenly along the line. */
  async addScribble(scribble: Scribble, options?: StepOptions): Promise<Hit> {
    return this.#take({ action: 'addScribble', scribble }, options) as Promise<Hit>
  }

  /** @param index place in `marks.scribbles` */
  async removeScribble(index: number, options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'removeScribble', index }, options)
  }

  /** In place of the box that may be there. */
  async setBox(box: Box, options?: StepOptions): Promise<Hit> {
    return this.#take({ action: 'setBox', box }, options) as Promise<Hit>
  }

  async removeBox(options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'removeBox' }, options)
  }

  /**
   * Draws a closed line around the object, in place of the one that may be there. It becomes a mask prompt and, where no
   * box is set, the box around it.
   *
   * @param lasso at least three points, from -0.5 to width - 0.5 or height - 0.5; the last is joined to the first
   */
  async setLasso(lasso: Path, options?: StepOptions): Promise<Hit> {
    return this.#take({ action: 'setLasso', lasso }, options) as Promise<Hit>
  }

  async removeLasso(options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'removeLasso' }, options)
  }

  /** Removes all marks; can be undone. */
  async reset(options?: StepOptions): Promise<null> {
    return this.#take({ action: 'reset' }, options) as Promise<null>
  }

  /** Goes one step back, to the very hit that was there. Without one, nothing happens. */
  async undo(options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'undo' }, options)
  }

  /** Takes the step again that was undone last. Without one, nothing happens. */
  async redo(options?: StepOptions): Promise<Hit | null> {
    return this.#take({ action: 'redo' }, options)
  }

  get #state(): State {
    return this.#history[this.#at]!
  }

  /** Copies and checks the step at once, and performs it when the calls before have ended. */
  async #take(newStep: NewStep, options: StepOptions = {}): Promise<Hit | null> {
    checkOptions(options, CALL_OPTIONS)
    const step = checkedStep(newStep, this.#settings.frame)
    const before = this.#ended
    let end = () => {}
    const mine = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#ended = before.then(() => mine)
    try {
      return await Call.run(options, async (call) => {
        await abortable(() => before, { signal: call.signal })
        return this.#perform(step, call)
      })
    } finally {
      end()
    }
  }

  async #perform(step: SessionStep, call: Call): Promise<Hit | null> {
    if (step.action === 'undo' || step.action === 'redo') {
      if (!(step.action === 'undo' ? this.canUndo : this.canRedo)) return this.hit
      this.#at += step.action === 'undo' ? -1 : 1
    } else {
      const state = await this.#decoded(step, call)
      this.#history = [...this.#history.slice(0, this.#at + 1), state]
      this.#at++
    }
    this.#steps.push(step)
    return this.hit
  }

  async #decoded(step: MarkStep, { priority, signal }: Call): Promise<State> {
    const { marks: before, logits } = this.#state
    const { frame, threshold, classes } = this.#settings
    const marks = marked(before, step)
    const previous = logits && refines(before, step) ? logits.slice() : null
    const prompt = promptOf(marks, previous, frame)
    if (!prompt) return { ...START, marks }
    const [hit] = await this.#scene.segment([prompt], {
      multimask: isAmbiguous(prompt),
      threshold,
      ...(classes ? { classes } : {}),
      priority,
      ...(signal ? { signal } : {}),
    })
    return { marks, prompt, hit: hit!, logits: hit!.logits.slice() }
  }
}

/** A lone click may mean the whole or a part: SAM 2's rule for several masks, at most one point (`_use_multimask`). */
function isAmbiguous({ points = [], box, mask }: Prompt): boolean {
  return points.length <= 1 && !box && !mask
}

function nothingTo(action: 'undo' | 'redo') {
  return new SegSamError('INVALID_ARGUMENT', `There is nothing to ${action}. Take the entry out of the log.`)
}
