import type { Decoded, DecodeOptions, Logits, PromptBatch } from '../binding.js'
import { abortable } from './abort.js'
import type { Manifest } from './bundle.js'
import { CALL_OPTIONS, Call, type CallOptions } from './call.js'
import type { ClassBook, ClassCode, NewClassCard, PreparedClasses } from './classes.js'
import { SegSamError, unexpected } from './errors.js'
import type { Decoder } from './everything/decode-grid.js'
import { findObjects, type Look } from './everything/find-objects.js'
import type { FoundObject } from './everything/found-object.js'
import { objectsInCrop, type Place } from './everything/objects-in-crop.js'
import {
  type CheckedEverything,
  checkedEverything,
  checkWithoutCrops,
  type EverythingOptions,
} from './everything/options.js'
import { checkedPresence, type PresenceOptions, presenceOf } from './everything/presence.js'
import { checkedLabelMap, type LabelMapOptions } from './label-map/options.js'
import { checkedRules } from './label-map/regions.js'
import { type LabelMap, labelMapOf } from './label-map.js'
import { lazily } from './lazily.js'
import { Mask } from './mask.js'
import { MaskMemory, MaskOfCall } from './mask-memory.js'
import { writingTo } from './memory-in-use.js'
import { rank, withNames } from './naming.js'
import { checkOptions } from './options.js'
import { probabilitiesOf } from './probabilities.js'
import { checkedLogits, groupPrompts, type MaskLogits, type Prompt, type PromptGroup } from './prompts.js'
import type { PlacedScene } from './replicas.js'
import { type SceneOrigin, sceneToBytes, writeWhole } from './scene-file.js'
import { Session, type SessionOptions } from './session.js'

export interface SegmentOptions extends CallOptions {
  /**
   * Three masks a prompt (whole, part, subpart), of which `hit.mask` is the one the model trusts most; good for an
   * ambiguous prompt such as a single click. `false`: one mask, better for a prompt that leaves no doubt.
   * Default `true`, as in SAM's predictor.
   */
  multimask?: boolean
  /** Logits above it are foreground. Default 0, as in SAM. */
  threshold?: number
  /**
   * The classes that may be named in this call: ids of `model.classes`, or cards of your own, which the bundle's text
   * encoder embeds (once for the selections used last). `[...model.classes, card]` adds one. Default: all of
   * `model.classes`.
   */
  classes?: readonly (string | NewClassCard)[]
  /**
   * Memory for the binary masks: prompts * (3 with multimask, else 1) * height * width bytes. The masks of the result
   * are views into it, in the order of the prompts. Do not touch it until the promise settles: a second call that is given
   * some of it meanwhile is refused. On a `SharedArrayBuffer` masks are written in place, without a copy; used again in a
   * later call, it spares new memory for them. That call overwrites the masks of the hits before it, whose `area` and
   * `bbox` may already have been computed. A call that fails may have written a part.
   */
  out?: Uint8Array
}

/** A class and how sure the model is of it. */
export interface Label {
  id: string
  name: string
  /** 0 to 1; not calibrated. */
  probability: number
  codes: readonly ClassCode[]
}

/** One of the masks that the semantic-agnostic decoder proposes for a prompt. */
export interface MaskProposal {
  mask: Mask
  /** The model's estimate of the mask's IoU with the truth; as in SAM it is not clamped to 0 to 1. */
  predictedIou: number
  /**
   * IoU of this mask with the semantic mask, at the size of the image; 1 where both are empty. `null` where there is no
   * semantic mask.
   */
  agreement: number | null
  /**
   * Row-major, `model.info.maskSize` squared; to feed back as `mask` in the next prompt. Copied from those of the whole call
   * when first read.
   */
  logits: MaskLogits
}

/** What the model found for one prompt. The fields of {@link MaskProposal} are those of the best of `masks`. */
export interface Hit extends MaskProposal {
  /** All proposals in the model's order: one, or three with `multimask`. */
  masks: MaskProposal[]
  /** The same object as the semantic-aware decoder sees it; `null` where that is untrained, as `label` is then. */
  semanticMask: Mask | null
  /** Row-major, `model.info.maskSize` squared. */
  semanticLogits: MaskLogits | null
  /** The most probable class of the prompted object; `null` for the reason given in `labelReason`. */
  label: Label | null
  /**
   * `nothing`: none of the classes is as probable as "none of them" (the candidates are still ranked).
   * `untrained`: the semantic part of the bundle has not been trained, so no class is named at all, and what its
   * decoder draws is left out.
   */
  labelReason: 'nothing' | 'untrained' | null
  /** The classes other than `label`, most probable first. With `label` and "nothing" they sum to 1. */
  candidates: Label[]
  /**
   * Classes of objects in the image that this prompt does not mean, most probable first: those whose presence, by the
   * best of the classification-oriented tokens, is above `PRESENCE_THRESHOLD`. The class of `label` is left out,
   * because a second object of that class cannot be told from the prompted one. Each prompt is judged on its own:
   * classes of the other prompts of the call are not left out.
   */
  others: Label[]
}

/** What the model sees in an image that nobody prompted. */
export interface PresentClasses {
  /** Most probable first. */
  classes: Label[]
  /** Why there is none, as for a hit: `nothing` or `untrained`. `null` where there is one. */
  labelReason: Hit['labelReason']
}

/** An image, encoded once, against which any number of prompts is decoded. Made by `model.encode`. */
export class Scene {
  readonly #native: PlacedScene
  readonly #manifest: Manifest
  readonly #classes: ClassBook
  readonly #origin: SceneOrigin
  #calls = 0
  #disposed = false

  /** @internal */
  constructor(native: PlacedScene, manifest: Manifest, classes: ClassBook, origin: SceneOrigin) {
    this.#native = native
    this.#manifest = manifest
    this.#classes = classes
    this.#origin = origin
  }

  /** Of the original image, in pixels. */
  get width(): number {
    return this.#native.width
  }

  get height(): number {
    return this.#native.height
  }

  /** Memory on the device: of the features, and of what the decoders make of them whatever the prompts. */
  get bytes(): number {
    return this.#native.bytes
  }

  get disposed(): boolean {
    return this.#disposed || this.#native.disposed
  }

  /**
   * Segments and names the object that each prompt means. The result of a prompt does not depend on the others in the
   * call; hits come in the order of the prompts. The first call takes longer, because it embeds the class cards.
   *
   * @throws SegSamError `INVALID_PROMPT`, `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`,
   *   `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async segment(prompts: readonly Prompt[], options: SegmentOptions = {}): Promise<Hit[]> {
    this.#checkAlive()
    checkOptions(options, ['multimask', 'threshold', 'classes', 'out', ...CALL_OPTIONS])
    return this.#call(options, (call) => this.#segment(prompts, options, call))
  }

  /**
   * How probable it is, by the logits of a mask, that each pixel belongs to the object: 0.5 or more where the mask of the
   * default threshold is set, 0.5 or less elsewhere. Not calibrated.
   *
   * @param logits `hit.logits`, `hit.semanticLogits` or those of one of `hit.masks`, of this scene
   * @returns row-major, height * width, 0 to 1
   * @throws SegSamError `INVALID_PROMPT` where these are no logits of this model
   */
  probabilities(logits: MaskLogits): Float32Array {
    const { mask_size: maskSize, image_size: imageSize, resize_mode: resizeMode } = this.#manifest
    checkedLogits(logits, 'logits', maskSize)
    return probabilitiesOf(logits, { maskSize, imageSize, resizeMode }, this.width, this.height)
  }

  /**
   * Segments and names everything, without a prompt: points of a grid are the prompts, and masks that are not good, or
   * that repeat another, are left out. SAM's automatic mask generator (Kirillov et al., Segment Anything, 2023, section
   * 5) with its defaults, and a name for each mask. Its crop layers need the pixels: see `model.segmentEverything`.
   *
   * @returns objects by falling predicted IoU; they may overlap
   * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  async segmentEverything(options: EverythingOptions = {}): Promise<FoundObject[]> {
    this.#checkAlive()
    const checked = checkedEverything(options, this.#manifest.semantic)
    checkWithoutCrops(checked, 'segmentEverything')
    return this.#call(options, async (call) => {
      const classes = await this.#selected(options, call)
      return this.#found(classes, checked, call)
    })
  }

  /**
   * One map of the classes in the image, and of each object of a countable class: {@link segmentEverything}, with the
   * overlaps of the masks resolved by evidence. What was segmented but is of no class is `unknown`.
   *
   * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  async labelMap(options: LabelMapOptions = {}): Promise<LabelMap> {
    this.#checkAlive()
    const { everything, regions, minEvidence } = checkedLabelMap(options, this.#manifest.semantic)
    checkWithoutCrops(everything, 'labelMap')
    return this.#call(options, async (call) => {
      const classes = await this.#selected(options, call)
      const rules = checkedRules(regions, classes.cards)
      const objects = await this.#found(classes, everything, call)
      return labelMapOf(this, objects, classes.cards, { rules, minEvidence, semantic: this.#manifest.semantic })
    })
  }

  /**
   * The classes that the model sees in the image, without a prompt and without masks.
   *
   * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  async present(options: PresenceOptions = {}): Promise<PresentClasses> {
    this.#checkAlive()
    const { threshold, pointsPerSide } = checkedPresence(options)
    return this.#call(options, async (call) => {
      const classes = await this.#selected(options, call)
      if (this.#manifest.semantic === 'untrained') return { classes: [], labelReason: 'untrained' }
      const probabilities = await presenceOf(this.#decoder(classes, call), classes.cards.length, pointsPerSide)
      const seen = rank(classes.cards, probabilities, { above: threshold })
      return { classes: seen, labelReason: seen.length > 0 ? null : 'nothing' }
    })
  }

  /**
   * A session, to outline one object step by step with points, boxes, scribbles and a lasso, with undo and redo. Several
   * may work on a scene side by side.
   *
   * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`
   */
  session(options: SessionOptions = {}): Session {
    checkOptions(options, ['threshold', 'classes'])
    const { threshold = 0, classes } = options
    checkThreshold(threshold)
    const { name, version, image_size, mask_size, resize_mode } = this.#manifest
    const { width, height } = this
    return new Session(this, {
      frame: { width, height, imageSize: image_size, maskSize: mask_size, resizeMode: resize_mode },
      model: { name, version },
      threshold,
      classes: classes === undefined ? null : this.#classes.pinned(classes),
    })
  }

  /**
   * Objects in this scene as that of a crop, in pixels of the whole image.
   *
   * @internal
   */
  objectsIn(place: Place, classes: PreparedClasses, options: CheckedEverything, call: Call) {
    const cards = options.semantic === 'trained' ? classes.cards : null
    return objectsInCrop(this.#decoder(classes, call), place, options, (decoded, prompt) =>
      withNames({}, decoded, prompt, cards),
    )
  }

  /**
   * {@link segment} as a part of another call.
   *
   * @internal
   */
  async segmentIn(call: Call, prompts: readonly Prompt[], options: Omit<SegmentOptions, keyof CallOptions>) {
    this.#checkAlive()
    return this.#held(() => this.#segment(prompts, options, call))
  }

  /**
   * The features, to go on with later: `model.restore` makes a scene of them without the image, and without encoding it
   * again. Written to a file where a path is given, which appears whole or not at all. The pixels are not in it, but an
   * image can be guessed from its features: keep such a file as you keep the image.
   *
   * @throws SegSamError `WRITE_FAILED`, `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  save(): Promise<Uint8Array>
  save(path: string | URL): Promise<void>
  async save(path?: string | URL): Promise<unknown> {
    this.#checkAlive()
    const features = await this.#call({}, () => this.#native.features())
    const bytes = sceneToBytes(features, this.#origin)
    if (path === undefined) return bytes
    return writeWhole(path, bytes)
  }

  /** Frees the features once calls that run have ended. Harmless when called again. */
  dispose(): void {
    this.#disposed = true
    if (this.#calls === 0) this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #checkAlive() {
    if (this.disposed) throw new SegSamError('DISPOSED', 'The scene has been disposed. Encode the image again.')
  }

  #call<T>(options: CallOptions, work: (call: Call) => Promise<T>): Promise<T> {
    return this.#held(() => Call.run(options, work))
  }

  /** Work that needs the features, which a `dispose` meanwhile leaves until its end. */
  async #held<T>(work: () => Promise<T>): Promise<T> {
    this.#calls++
    try {
      return await work()
    } finally {
      this.#calls--
      if (this.#disposed) this.dispose()
    }
  }

  #selected({ classes }: Pick<SegmentOptions, 'classes'>, { signal }: Call): Promise<PreparedClasses> {
    return abortable(() => this.#classes.select(classes), { signal })
  }

  #found(classes: PreparedClasses, options: CheckedEverything, call: Call) {
    const look: Look = (crop, pointsPerSide) =>
      this.objectsIn({ crop, image: this, pointsPerSide }, classes, options, call)
    return findObjects(this, options, look, call.signal)
  }

  #decoder(classes: PreparedClasses, call: Call): Decoder {
    const { width, height } = this
    const { mask_size, image_size, resize_mode } = this.#manifest
    return {
      width,
      height,
      maskSize: mask_size,
      imageSize: image_size,
      resizeMode: resize_mode,
      signal: call.signal,
      decode: async (batch, options) => {
        const decoded = await this.#decode(batch, classes, options, call)
        checkFinite(decoded)
        return decoded
      },
    }
  }

  async #segment(prompts: readonly Prompt[], options: SegmentOptions, call: Call): Promise<Hit[]> {
    const { width, height } = this
    const groups = groupPrompts(prompts, { width, height, maskSize: this.#manifest.mask_size })
    const decodeOptions = this.#checked(options, prompts.length)
    return writingTo(options.out, async () => {
      const classes = await this.#selected(options, call)
      return this.#hits(groups, classes, { ...decodeOptions, out: options.out ?? null }, call)
    })
  }

  async #hits(groups: PromptGroup[], classes: PreparedClasses, options: DecodeOptions, call: Call): Promise<Hit[]> {
    const { out, multimask } = options
    const pixels = this.width * this.height
    const bytesPerPrompt = (multimask ? 3 : 1) * pixels
    const bytes = groups.reduce((sum, { indices }) => sum + indices.length, 0) * bytesPerPrompt
    const inPlace = groups.length === 1
    const hits: Hit[] = []
    for (const { batch, indices } of groups) {
      const decoded = await this.#decode(batch, classes, { ...options, out: inPlace ? out : null }, call)
      checkFinite(decoded)
      const memory = new MaskMemory(pixels, indices.length)
      for (const [place, index] of indices.entries()) {
        if (out && out.length !== bytes) {
          throw unexpected('INVALID_ARGUMENT', 'out', out, `${bytes} bytes, as it had, until the promise settles`)
        }
        const target = out?.subarray(index * bytesPerPrompt, (index + 1) * bytesPerPrompt)
        if (target && !inPlace) {
          const { masks, masksPerPrompt } = decoded
          for (let m = 0; m < masksPerPrompt; m++) {
            masks.expand(place * masksPerPrompt + m, target.subarray(m * pixels, (m + 1) * pixels))
          }
        }
        hits[index] = this.#hit(decoded, place, classes, memory, target)
      }
    }
    return hits
  }

  #checked({ multimask = true, threshold = 0, out }: SegmentOptions, prompts: number) {
    if (typeof multimask !== 'boolean') throw unexpected('INVALID_ARGUMENT', 'multimask', multimask, 'true or false')
    checkThreshold(threshold)
    const { width, height } = this
    const bytes = prompts * (multimask ? 3 : 1) * width * height
    if (out !== undefined && !(out instanceof Uint8Array && out.length === bytes)) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'out',
        out,
        `a Uint8Array of prompts * masks * height * width = ${prompts} * ${multimask ? 3 : 1} * ${height} * ${width} = ${bytes} bytes`,
      )
    }
    return { multimask, threshold }
  }

  #decode(batch: PromptBatch, { vectors }: PreparedClasses, options: DecodeOptions, call: Call) {
    return call.job((schedule, cancellation) => this.#native.decode(batch, vectors, options, schedule, cancellation), {
      holdsCallersMemory: options.out !== null,
    })
  }

  /** @param out the caller's memory, which the masks of the hit were written to */
  #hit(decoded: Decoded, place: number, { cards }: PreparedClasses, memory: MaskMemory, out?: Uint8Array): Hit {
    const { width, height } = this
    const pixels = width * height
    const perPrompt = decoded.masksPerPrompt
    const low = this.#manifest.mask_size ** 2
    const trained = this.#manifest.semantic === 'trained'
    const proposals = Array.from({ length: perPrompt }, (_, m): MaskProposal => {
      const row = place * perPrompt + m
      const proposal = {
        mask: out
          ? new Mask(width, height, out.subarray(m * pixels, (m + 1) * pixels))
          : new Mask(width, height, new MaskOfCall(decoded.masks, row, memory)),
        predictedIou: decoded.iou[row]!,
        agreement: trained ? decoded.agreement[row]! : null,
      }
      return withLogits(proposal, 'logits', decoded.logits, row * low, low)
    })
    const best = proposals.reduce((a, b) => (b.predictedIou > a.predictedIou ? b : a))
    const { mask, predictedIou, agreement } = best
    const semanticMask = trained ? new Mask(width, height, new MaskOfCall(decoded.semanticMasks, place, memory)) : null
    const hit = { mask, predictedIou, agreement, masks: proposals, semanticMask }
    const ofBest = withLogitsOf(withNames(hit, decoded, place, trained ? cards : null), best)
    return trained
      ? withLogits(ofBest, 'semanticLogits', decoded.semanticLogits, place * low, low)
      : Object.assign(ofBest, { semanticLogits: null })
  }
}

// Functions of their own, as closures of one function hold what any of them needs: logits that are kept and not yet read
// keep those of their call, but not the masks.

function withLogits<T extends object, Name extends string>(
  target: T,
  name: Name,
  logits: Logits,
  begin: number,
  length: number,
) {
  return lazily(target, name, (): MaskLogits => logits.slice(begin, begin + length))
}

function withLogitsOf<T extends object>(target: T, best: MaskProposal) {
  return lazily(target, 'logits', () => best.logits)
}

function checkThreshold(threshold: number) {
  if (typeof threshold === 'number' && Number.isFinite(threshold)) return
  throw unexpected('INVALID_ARGUMENT', 'threshold', threshold, 'a finite number')
}

/**
 * NaN counts as background, so that an empty mask would pass for a finding. One that an overflow left anywhere in the
 * features reaches every predicted IoU through attention.
 */
function checkFinite({ iou }: Decoded) {
  if (iou.every(Number.isFinite)) return
  throw new SegSamError(
    'RUNTIME',
    "The model's result is not finite. Load it with precision 'fp32', and pass back mask logits only as an earlier hit gave them.",
  )
}
