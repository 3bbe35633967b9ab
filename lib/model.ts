import { join } from 'node:path'
import { z } from 'zod'
import type { ImageView, Model as NativeModel } from '../binding.js'
import { abortable, throwIfAborted } from './abort.js'
import { addon, type Device, type Precision } from './addon.js'
import { type BundleReport, bundleHash, type Manifest, readTokenizer, verifiedBundle } from './bundle.js'
import { CALL_OPTIONS, Call, type CallOptions } from './call.js'
import { ClassBook, type ClassCard, type NewClassCard, type PreparedClasses } from './classes.js'
import { SegSamError, unexpected } from './errors.js'
import { croppedImage, wholeOf } from './everything/crops.js'
import { findObjects, type Look } from './everything/find-objects.js'
import type { FoundObject } from './everything/found-object.js'
import {
  type CheckedEverything,
  checkedEverything,
  EVERYTHING_OPTIONS,
  type EverythingOptions,
} from './everything/options.js'
import { automaticWindow, checkImage, checkWindow, defaultWindowOf, type MedicalImage } from './image.js'
import { checkedLabelMap, LABEL_MAP_OPTIONS, type LabelMapOptions } from './label-map/options.js'
import { checkedRules } from './label-map/regions.js'
import { type LabelMap, labelMapOf } from './label-map.js'
import { checkOptions, parsedOptions } from './options.js'
import { defaultBundle } from './package-root.js'
import { devicesSchema, type PlacedScene, Replicas } from './replicas.js'
import { Scene, type SegmentOptions } from './scene.js'
import { contentKey, SceneCache } from './scene-cache.js'
import { contentOf, originOf, type SceneOrigin, sceneFromBytes } from './scene-file.js'
import { SentenceEncoder, SentenceTokenizer } from './sentences.js'
import { type Stats, statsOf } from './stats.js'
import { windowForVolume } from './volume/volume-window.js'
import { checkVolume, type Volume, type VolumeSlice } from './volume.js'
import { checkedConsistency, type LabelVolumeOptions } from './volume-label-map/options.js'
import { VolumeLabelMap } from './volume-label-map.js'
import { checkedRules as checkedFollowRules, type SegmentVolumeOptions } from './volume-objects/options.js'
import type { SliceModel, SliceScene } from './volume-objects/slice-model.js'
import type { VolumePrompt } from './volume-objects/volume-prompts.js'
import { VolumeObjects } from './volume-objects.js'

export interface LoadOptions {
  /**
   * Where the model runs. `auto` (default): the first CUDA device, else the CPU. A list of 1 to 16 devices has the model
   * on each of them; a device may be named twice. An image goes to the one with the fewest jobs, and its scene stays there:
   * docs/serving.md.
   */
  device?: Device | readonly Device[]
  /**
   * Arithmetic of the image encoder. `auto` (default): bf16 where the device multiplies it in hardware, else fp16 on CUDA and
   * fp32 on the CPU. `int8`: as `auto`, but the linear layers of the encoder's blocks multiply in 8 bits: faster, with
   * smaller weights; only on a CPU with AVX-512 VNNI, else `DEVICE_UNAVAILABLE`. The decoders run in fp32; with bf16
   * on a CPU that multiplies it, their products over the image take bf16.
   */
  precision?: Precision
  /**
   * Jobs of `encode` and of what decodes scenes that may wait for the device, in all; by default any number. A call that
   * comes when as many wait fails at once with `QUEUE_FULL`. With several devices it holds for each of them.
   */
  maxQueue?: number
  /**
   * Images of different calls of `encode` that wait together and may be encoded in one pass. 1 to 65536; default 1,
   * because two in a pass were no faster where it was measured: docs/serving.md.
   */
  maxEncodeBatch?: number
  /** Prompts of different calls on one scene that may be decoded in one pass. 1 to 65536; default 64. */
  maxDecodeBatch?: number
  /**
   * Keeps the features of images that were encoded, up to so many bytes on all devices together, and gives them again to an
   * `encode` of the same pixels in the same window. What was asked for least recently goes first. Default 0: no cache.
   */
  sceneCacheBytes?: number
  signal?: AbortSignal
}

export interface EncodeOptions extends CallOptions {
  /**
   * Intensities mapped to black and white (window level 40, width 400 is `[-160, 240]`). Default: [0, 255] for 8-bit
   * images, else the 0.5 and 99.5 percentiles of each image; with `info.defaultWindow` `min_max`, as MedSAM has it,
   * the least and greatest intensity of each image.
   */
  window?: readonly [low: number, high: number]
  /**
   * Read the pixels in place instead of copying them first. You promise neither to change nor to transfer them until
   * the promise settles. Pixels in an `ArrayBuffer` that can be resized are copied all the same.
   */
  borrow?: boolean
}

/** Options of a call that encodes the image itself. */
export type FromPixels<Options> = Options & Pick<EncodeOptions, 'window'>

export interface DefineClassOptions {
  /** Takes the place of the class with the same id, which is an error otherwise. */
  replace?: boolean
  /** Leaves the classes as they were, then rejects with `signal.reason`. */
  signal?: AbortSignal
}

export interface ModelInfo {
  name: string
  version: string
  /** For example `tiny` or `vit_b`. */
  architecture: string
  /** Side of the square that the encoder sees, in pixels. */
  imageSize: number
  /** Side of the low-resolution logits and of mask prompts. */
  maskSize: number
  /** `longest`: aspect kept; `stretch`: each axis scaled on its own. */
  resizeMode: 'longest' | 'stretch'
  /** What `encode` takes for black and white where no window is given. */
  defaultWindow: 'auto' | 'min_max'
  /** `untrained`: no class names and no semantic masks are reported. */
  semantic: 'trained' | 'untrained'
  licence: string
  /** For example `cpu` or `cuda:0`; `cuda:0, cuda:1` where it is loaded on both. */
  device: string
  precision: 'fp32' | 'bf16' | 'fp16' | 'int8'
  /** Folder that the model was loaded from. */
  bundle: string
  /** SHA-256 of the bundle's manifest and the hashes of its files. */
  hash: string
}

/**
 * A loaded SEG-SAM model (arXiv 2412.12660). All coordinates are those of SAM's predictor: pixels of the original image,
 * x right, y down, (0, 0) the centre of the top-left pixel.
 *
 * ```ts
 * const model = await SegSam.load('models/seg-sam-tiny')
 * const scene = await model.encode(await readImage('scan.png'))
 * const [hit] = await scene.segment([{ box: [40, 52, 180, 201] }])
 * ```
 */
export class SegSam {
  readonly #replicas: Replicas
  readonly #manifest: Manifest
  readonly #classes: ClassBook
  readonly #cache: SceneCache
  readonly #origin: SceneOrigin
  readonly info: Readonly<ModelInfo>
  /** @internal The bundle as it was verified: what runs, whatever becomes of the files. */
  readonly bundle: BundleReport

  private constructor(replicas: Replicas, bundle: BundleReport, classes: ClassBook, cache: SceneCache) {
    const { manifest, directory } = bundle
    this.#replicas = replicas
    this.#manifest = manifest
    this.#classes = classes
    this.#cache = cache
    this.#origin = originOf(manifest, replicas.first.precision)
    this.bundle = bundle
    this.info = Object.freeze({
      name: manifest.name,
      version: manifest.version,
      architecture: manifest.architecture,
      imageSize: manifest.image_size,
      maskSize: manifest.mask_size,
      resizeMode: manifest.resize_mode,
      defaultWindow: manifest.default_window,
      semantic: manifest.semantic,
      licence: manifest.licence,
      device: replicas.device,
      precision: replicas.first.precision,
      bundle: directory,
      hash: bundleHash(bundle),
    })
  }

  /**
   * Verifies a bundle (sizes and SHA-256 of its files) and loads it.
   *
   * @param bundle folder in the format of `docs/bundle.md`; by default the one that comes with this package
   * @throws SegSamError `BUNDLE_NOT_FOUND`, `BUNDLE_INVALID`, `BUNDLE_TAMPERED`, `ADDON_MISSING`, `LIBTORCH_MISSING`,
   *   `DEVICE_UNAVAILABLE`, `INVALID_ARGUMENT`, `OUT_OF_MEMORY`
   */
  static async load(bundle: string = defaultBundle, options: LoadOptions = {}): Promise<SegSam> {
    checkOptions(options, [
      'device',
      'precision',
      'maxQueue',
      'maxEncodeBatch',
      'maxDecodeBatch',
      'sceneCacheBytes',
      'signal',
    ])
    const { precision = 'auto', signal } = options
    throwIfAborted(signal)
    if (!['auto', 'fp32', 'bf16', 'fp16', 'int8'].includes(precision)) {
      throw unexpected('INVALID_ARGUMENT', 'precision', precision, "'auto', 'fp32', 'bf16', 'fp16' or 'int8'")
    }

    const { device: devices, sceneCacheBytes, ...limits } = parsedOptions(options, loadShape)

    const verified = await verifiedBundle(bundle, signal)
    const { manifest, classes } = verified
    const tokenizer = new SentenceTokenizer(await readTokenizer(bundle), manifest.text_length)
    const replicas = await Replicas.load(devices, (device, index) =>
      loadNative(bundle, manifest, { device, precision, readsText: index === 0, ...limits }, signal),
    )
    const encoder = new SentenceEncoder(replicas.first, tokenizer, manifest.text_width)
    const names = manifest.semantic === 'trained' || !replicas.first.decodesBinary
    return new SegSam(replicas, verified, new ClassBook(encoder, classes, names), new SceneCache(sceneCacheBytes))
  }

  /**
   * The class cards that segments are named by: those of the bundle, in its order, and what was defined and removed
   * since. Frozen; a change gives another list.
   */
  get classes(): readonly ClassCard[] {
    return this.#classes.cards
  }

  /**
   * Adds a class to `model.classes`: its card is embedded with the bundle's text encoder, and calls of `segment` that
   * begin afterwards can name it, on scenes that were there before as well. A `description` is split into sentences.
   * Nothing is written to the bundle.
   *
   * How well the model recognises a class it was not trained on is unproven: it compares what it sees with the text alone.
   *
   * @returns the card as it stands in `model.classes`
   * @throws SegSamError `INVALID_ARGUMENT` (no card, or its id is taken), `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async defineClass(card: NewClassCard, options: DefineClassOptions = {}): Promise<ClassCard> {
    this.#checkNotDisposed()
    checkOptions(options, ['replace', 'signal'])
    const { replace = false, signal } = options
    if (typeof replace !== 'boolean') throw unexpected('INVALID_ARGUMENT', 'replace', replace, 'true or false')
    return this.#classes.define(card, replace, signal)
  }

  /**
   * Takes a class out of `model.classes`, so that calls of `segment` that begin afterwards do not name it. Its card, kept
   * by the caller, can be defined again.
   *
   * @throws SegSamError `UNKNOWN_CLASS`, `INVALID_ARGUMENT` (the last class)
   */
  removeClass(id: string): void {
    this.#classes.remove(id)
  }

  get disposed(): boolean {
    return this.#replicas.disposed
  }

  /**
   * Encodes an image, or several in one pass of the encoder (scenes in the order of the images).
   *
   * @throws SegSamError `INVALID_IMAGE`, `INVALID_ARGUMENT`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  encode(image: MedicalImage, options?: EncodeOptions): Promise<Scene>
  encode(images: readonly MedicalImage[], options?: EncodeOptions): Promise<Scene[]>
  async encode(input: MedicalImage | readonly MedicalImage[], options: EncodeOptions = {}): Promise<Scene | Scene[]> {
    this.#checkNotDisposed()
    checkOptions(options, ['window', 'borrow', ...CALL_OPTIONS])
    const { window, borrow = false } = options
    checkWindow(window)
    if (typeof borrow !== 'boolean') throw unexpected('INVALID_ARGUMENT', 'borrow', borrow, 'true or false')
    if (Array.isArray(input) && input.length === 0) {
      throw unexpected('INVALID_ARGUMENT', 'images', input, 'a list of at least one image')
    }
    return Call.run(options, async (call) => {
      if (!Array.isArray(input)) {
        const [scene] = await this.#encode([input as MedicalImage], ['image'], { window, borrow, call })
        return scene!
      }
      const images = Array.from<MedicalImage>(input)
      const names = images.map((_, index) => `images[${index}]`)
      return this.#encode(images, names, { window, borrow, call })
    })
  }

  /**
   * A scene from what `scene.save` gave, without the image. It has the masks that the saved scene has on the same kind of
   * device.
   *
   * @param source path, or the bytes
   * @throws SegSamError `SCENE_INVALID` (no saved scene, another version of the format, truncated or damaged),
   *   `SCENE_MISMATCH` (of another bundle or precision), `READ_FAILED`, `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async restore(source: string | URL | Uint8Array): Promise<Scene> {
    this.#checkNotDisposed()
    const { bytes, name } = await contentOf(source)
    return this.#sceneOf(await this.#replicas.restore(sceneFromBytes(bytes, this.#origin, name)))
  }

  /** What the model does and did: see {@link Stats}. Takes well under a millisecond. */
  stats(): Stats {
    return statsOf(this.#replicas.stats(), this.#cache.stats(), this.#classes.preparing)
  }

  /**
   * As `scene.segmentEverything`, but from the pixels: encodes the image and, with `cropNLayers`, each of its crops, one
   * at a time, and frees them again. Every crop is windowed as the whole image is.
   *
   * @returns objects by falling predicted IoU; they may overlap
   * @throws SegSamError `INVALID_IMAGE`, `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`,
   *   `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async segmentEverything(image: MedicalImage, options: FromPixels<EverythingOptions> = {}): Promise<FoundObject[]> {
    this.#checkNotDisposed()
    checkOptions(options, [...EVERYTHING_OPTIONS, 'window'])
    const { window, ...rest } = options
    const checked = checkedEverything(rest, this.#manifest.semantic)
    const whole = this.#pixelsOf(image, window)
    return Call.run(rest, async (call) => {
      const classes = await this.#selected(rest.classes, call)
      return this.#found(whole, classes, checked, call)
    })
  }

  /**
   * As `scene.labelMap`, but from the pixels, with crops where `cropNLayers` asks for them: see {@link segmentEverything}.
   *
   * @throws SegSamError `INVALID_IMAGE`, `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`,
   *   `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async labelMap(image: MedicalImage, options: FromPixels<LabelMapOptions> = {}): Promise<LabelMap> {
    this.#checkNotDisposed()
    checkOptions(options, [...LABEL_MAP_OPTIONS, 'window'])
    const { window, ...rest } = options
    const { semantic } = this.#manifest
    const { everything, regions, minEvidence } = checkedLabelMap(rest, semantic)
    const whole = this.#pixelsOf(image, window)
    return Call.run(rest, async (call) => {
      const classes = await this.#selected(rest.classes, call)
      const rules = checkedRules(regions, classes.cards)
      const objects = await this.#found(whole, classes, everything, call)
      return labelMapOf(whole.image, objects, classes.cards, { rules, minEvidence, semantic })
    })
  }

  /**
   * Follows objects of a volume from slice to slice, each from a box or points on one slice. In both directions, what was
   * found goes along as the prompt of the next slice, until the mask no longer looks like the object. What is found of it
   * is reported slice by slice (`onProgress`), and can be corrected afterwards: see {@link VolumeObjects}.
   *
   * A slice is encoded once in each direction, for all objects that are there, and at most two scenes are alive at a time.
   *
   * @param prompts one an object, in pixels of its slice
   * @throws SegSamError `INVALID_PROMPT`, `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`,
   *   `DISPOSED`, `OUT_OF_MEMORY`, `RUNTIME`
   */
  async segmentVolume(
    volume: Volume,
    prompts: readonly VolumePrompt[],
    options: SegmentVolumeOptions = {},
  ): Promise<VolumeObjects> {
    this.#checkNotDisposed()
    checkVolume(volume)
    const rules = checkedFollowRules(options)
    const { axis = 'z', window, classes, onProgress } = options
    const settings = {
      volume,
      model: this.info,
      axis,
      choice: windowForVolume(volume, window),
      rules,
      classes: classes === undefined ? undefined : this.#classes.pinned(classes),
    }
    return Call.run(options, (call) => VolumeObjects.found(this.#slices(), prompts, settings, onProgress, call))
  }

  /**
   * Labels every slice of a volume as `scene.labelMap` does it, and makes one map of them: slices vote on each voxel, and
   * regions may have to be large. One slice is encoded at a time.
   *
   * @throws SegSamError `INVALID_ARGUMENT`, `UNKNOWN_CLASS`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  async labelVolume(volume: Volume, options: LabelVolumeOptions = {}): Promise<VolumeLabelMap> {
    this.#checkNotDisposed()
    checkVolume(volume)
    const { consistency, ofSlices } = checkedConsistency(options)
    const { semantic } = this.#manifest
    const { everything, regions, minEvidence } = checkedLabelMap(ofSlices, semantic)
    const { axis = 'z', onProgress } = options
    const choice = windowForVolume(volume, options.window)
    const settings = { volume, model: this.info, axis, choice, consistency, onProgress }
    return Call.run(options, async (call) => {
      const classes = await this.#selected(options.classes, call)
      const rules = checkedRules(regions, classes.cards)
      const labelled = async (slice: VolumeSlice) => {
        const objects = await this.#found({ image: slice, window: undefined }, classes, everything, call)
        return labelMapOf(slice, objects, classes.cards, { rules, minEvidence, semantic })
      }
      return VolumeLabelMap.made(labelled, settings, call)
    })
  }

  /** Frees the weights once running jobs have ended. Harmless when called again; scenes can no longer be decoded. */
  dispose(): void {
    this.#cache.clear()
    this.#replicas.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Encodes slices, whose jobs are jobs of the call that asks for them. */
  #slices(): SliceModel<SliceScene> {
    return {
      encode: async (slice, call) => {
        this.#checkNotDisposed()
        const name = `the ${slice.axis} slice ${slice.index}`
        const [scene] = await this.#encode([slice], [name], { window: undefined, borrow: false, call })
        return {
          segment: (prompts, options, call) => scene!.segmentIn(call, prompts, options),
          dispose: () => scene!.dispose(),
        }
      },
    }
  }

  #checkNotDisposed(): void {
    if (this.disposed) throw new SegSamError('DISPOSED', 'The model has been disposed. Load it again.')
  }

  /** A copy of the image, which the caller may change meanwhile. */
  #pixelsOf(image: MedicalImage, window: EncodeOptions['window']): WindowedImage {
    checkWindow(window)
    checkImage(image, 'image')
    checkSize(image, 'image', this.#manifest)
    return { image: croppedImage(image, wholeOf(image)), window }
  }

  #selected(classes: SegmentOptions['classes'], { signal }: Call): Promise<PreparedClasses> {
    return abortable(() => this.#classes.select(classes), { signal })
  }

  #found(
    { image, window }: WindowedImage,
    classes: PreparedClasses,
    options: CheckedEverything,
    call: Call,
  ): Promise<FoundObject[]> {
    // The crops share the window of the whole; without crops the addon finds it, off the event loop.
    const found = () => defaultWindowOf(this.info, image) ?? automaticWindow(image)
    const shared = window ?? (options.cropNLayers > 0 ? found() : undefined)
    const look: Look = async (crop, pointsPerSide) => {
      const pixels = crop.layer === 0 ? image : croppedImage(image, crop)
      const name = `the crop of ${crop.width} x ${crop.height} pixels at x ${crop.x}, y ${crop.y}`
      const [scene] = await this.#encode([pixels], [name], { window: shared, borrow: false, call })
      try {
        return await scene!.objectsIn({ crop, image, pointsPerSide }, classes, options, call)
      } finally {
        scene!.dispose()
      }
    }
    return findObjects(image, options, look, call.signal)
  }

  async #encode(
    images: readonly MedicalImage[],
    names: readonly string[],
    { window, borrow, call }: Pick<EncodeOptions, 'window'> & { borrow: boolean; call: Call },
  ): Promise<Scene[]> {
    const views = images.map((image, index): ImageView => {
      checkImage(image, names[index]!)
      checkSize(image, names[index]!, this.#manifest)
      const { data, width, height, channels } = image
      return {
        data,
        width,
        height,
        channels,
        window: window ? ([...window] as [number, number]) : (defaultWindowOf(this.info, image) ?? null),
        borrow: borrow && !canShrink(data.buffer),
      }
    })
    const scenes = await this.#encodedOrCached(views, { borrow, call })
    return scenes.map((scene) => this.#sceneOf(scene))
  }

  #sceneOf(native: PlacedScene): Scene {
    return new Scene(native, this.#manifest, this.#classes, this.#origin)
  }

  async #encodedOrCached(
    views: ImageView[],
    { borrow, call }: { borrow: boolean; call: Call },
  ): Promise<PlacedScene[]> {
    if (!this.#cache.isOn) return this.#encoded(views, { borrow, call })
    const keys = views.map(contentKey)
    const scenes = keys.map((key) => this.#cache.find(key))
    const missing = [...scenes.keys()].filter((i) => !scenes[i])
    if (missing.length === 0) return scenes as PlacedScene[]
    try {
      const encoded = await this.#encoded(
        missing.map((i) => views[i]!),
        { borrow, call },
      )
      for (const [place, i] of missing.entries()) {
        scenes[i] = encoded[place]!
        if (!this.disposed) this.#cache.add(keys[i]!, scenes[i])
      }
      return scenes as PlacedScene[]
    } catch (error) {
      for (const scene of scenes) scene?.dispose()
      throw error
    }
  }

  #encoded(views: ImageView[], { borrow, call }: { borrow: boolean; call: Call }): Promise<PlacedScene[]> {
    return call.job((schedule, cancellation) => this.#replicas.encode(views, schedule, cancellation), {
      discard: (late: PlacedScene[]) => {
        for (const scene of late) scene.dispose()
      },
      holdsCallersMemory: borrow,
    })
  }
}

interface WindowedImage {
  image: MedicalImage
  window: EncodeOptions['window']
}

const batch = z.int().min(1).max(65536)
const limitShape = {
  maxQueue: z.int().min(1).nullable().default(null).describe('a whole number of jobs, at least 1'),
  maxEncodeBatch: batch.default(1).describe('a whole number of images from 1 to 65536'),
  maxDecodeBatch: batch.default(64).describe('a whole number of prompts from 1 to 65536'),
}
const loadShape = {
  device: devicesSchema,
  ...limitShape,
  sceneCacheBytes: z.int().min(0).default(0).describe('a whole number of bytes, from 0 on'),
}
type Limits = z.output<z.ZodObject<typeof limitShape>>

/** Its memory goes back to the system then, and a thread that reads it would bring the process down. */
function canShrink(buffer: ArrayBufferLike & { resizable?: boolean }): boolean {
  return buffer.resizable === true
}

async function loadNative(
  bundle: string,
  manifest: Manifest,
  { device, precision, readsText, ...limits }: { device: Device; precision: Precision; readsText: boolean } & Limits,
  signal: AbortSignal | undefined,
): Promise<NativeModel> {
  const files = {
    encoder: join(bundle, 'encoder.pt'),
    decoder: join(bundle, 'decoder.pt'),
    textEncoder: readsText ? join(bundle, 'text_encoder.pt') : null,
  }
  const options = {
    device,
    precision,
    imageSize: manifest.image_size,
    resizeMode: manifest.resize_mode,
    pixelMean: manifest.pixel_mean,
    pixelStd: manifest.pixel_std,
    maskSize: manifest.mask_size,
    textWidth: manifest.text_width,
    namesObjects: manifest.semantic === 'trained',
    ...limits,
  }
  const model = await abortable((cancellation) => addon().Model.load(files, options, cancellation), {
    signal,
    discard: (late: NativeModel) => late.dispose(),
  })
  if (model.kernelFailure) {
    const effect = `${model.device} computes without the kernels of seg-sam, which takes longer`
    process.emitWarning(`${effect}: ${model.kernelFailure}`, { code: 'SEG_SAM_KERNELS' })
  }
  return model
}

function checkSize({ width, height }: MedicalImage, name: string, { image_size, resize_mode }: Manifest) {
  const size = `${width} x ${height}`
  if (width * height === 1) {
    throw unexpected('INVALID_IMAGE', `the size of ${name}`, size, 'more than one pixel, so that there is an outline')
  }
  const shortSide = (Math.min(width, height) * image_size) / Math.max(width, height)
  if (resize_mode === 'longest' && shortSide < 0.5) {
    throw unexpected(
      'INVALID_IMAGE',
      `the size of ${name}`,
      size,
      `a long side at most ${2 * image_size} times the short one`,
      `Scaled to the ${image_size} pixels of the encoder nothing of the short side would be left: cut the image into pieces.`,
    )
  }
}
