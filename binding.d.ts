/**
 * The raw contract of the native addon. `lib/` is its only caller: it validates every argument and words
 * every message for a person; the addon checks again only what could otherwise crash the process.
 *
 * Pixels are those of the original image, x right, y down, (0, 0) the centre of the top-left pixel.
 * Promises reject, methods never throw for what a running job finds; both use the class given to
 * {@link setErrorClass}, constructed as `new ErrorClass(code, message)`.
 */

/** Version of this contract; `lib/` refuses an addon that reports another. */
export const abiVersion: number

/** The class of every error the addon raises in this environment. Without it, plain `Error`s with a `code`. */
export function setErrorClass(errorClass: new (code: string, message: string) => Error): void

/** What runs underneath: for `seg-sam doctor`. Loads nothing and starts no thread. */
export function runtimeInfo(): RuntimeInfo

export interface RuntimeInfo {
  /** libtorch's version as built against, for example `2.13.0`. */
  libtorch: string
  /** File the libtorch code was loaded from. */
  libtorchPath: string
  /** libtorch has CUDA code (a device may still be missing). */
  cudaBuilt: boolean
  /** `kernelError`: why this package's own kernels cannot run there, empty where they can. */
  cudaDevices: { name: string; index: number; kernelError: string }[]
  /** Why no CUDA device can be used, empty where one can. */
  cudaError: string
  /** Threads libtorch uses within one operation. */
  threads: number
  /** Best x86 or Arm instruction sets of this processor that libtorch can use, for example `AVX512`. */
  cpuCapability: string
  /** Matrix instructions for bf16: `amx`, `avx512_bf16` or an empty string. */
  bf16: string
}

/**
 * Drops all jobs of the process that wait, and waits for those that run; none starts afterwards, and none is settled that
 * has not ended. For the moment before the process exits.
 */
export function stop(): void

/** Live native objects and bytes, process-wide: leak tests and monitoring. */
export function counters(): { models: number; scenes: number; queued: number; sceneBytes: number }

/**
 * Handed to an asynchronous method; `cancel` drops the job if it has not started: rejection code `ABORTED`, or
 * `DEADLINE_EXCEEDED` with `expired`.
 */
export class Cancellation {
  constructor()
  cancel(expired: boolean): void
}

/**
 * How a job waits for the device. Interactive jobs go before those of the batch lane, but while one of these waits,
 * every fifth run is theirs. Within a lane an encode lets others go before it, at most four runs in a row. The lanes are
 * those of the device: all models of the process share them.
 */
export interface Schedule {
  priority: 'interactive' | 'batch'
  /** Milliseconds from now, or `null`: a job that has not started by then is dropped (`DEADLINE_EXCEEDED`). */
  timeout: number | null
  /** Whether the model's `maxQueue` holds for this job: not for those that follow the first job of a call. */
  limited: boolean
}

export interface ModelFiles {
  encoder: string
  decoder: string
  /** `null`: none is loaded, and this model cannot embed class cards. */
  textEncoder: string | null
}

export interface ModelOptions {
  device: 'auto' | 'cpu' | 'cuda' | `cuda:${number}`
  /**
   * Arithmetic of the image encoder. `auto`: bf16 where the device multiplies it in hardware, else fp16 on CUDA and
   * fp32 on the CPU. `int8`: as `auto`, but the linear layers of the encoder's blocks multiply in 8 bits; only on a CPU
   * with AVX-512 VNNI, else `DEVICE_UNAVAILABLE`. The decoders run in fp32; with bf16 on a CPU that multiplies it, their
   * products over the image take bf16.
   */
  precision: 'auto' | 'fp32' | 'bf16' | 'fp16' | 'int8'
  /** Side S of the square the encoder sees. */
  imageSize: number
  /** `longest`: aspect kept, padded bottom-right; `stretch`: each axis on its own. */
  resizeMode: 'longest' | 'stretch'
  /** Per channel, on the 0-255 scale. */
  pixelMean: [number, number, number]
  pixelStd: [number, number, number]
  /** Side of the low-resolution logits and of mask prompts. */
  maskSize: number
  /** Width of a sentence embedding from the text encoder. */
  textWidth: number
  /** Whether prompts will be decoded with classes, too: scenes then keep what that takes, or it takes longer. */
  namesObjects: boolean
  /** Encodes and decodes that may wait, or `null` for any number: one more rejects with `QUEUE_FULL`. */
  maxQueue: number | null
  /** Images of several calls of `encode` that one forward pass may take together. */
  maxEncodeBatch: number
  /** Prompts of several calls of `decode` on one scene that one forward pass may take together. */
  maxDecodeBatch: number
}

export class Model {
  private constructor()
  static load(files: ModelFiles, options: ModelOptions, cancellation?: Cancellation): Promise<Model>
  /** Where the model runs, for example `cpu` or `cuda:0`. */
  readonly device: string
  readonly precision: 'fp32' | 'bf16' | 'fp16' | 'int8'
  /** Whether `decode` takes no classes: bundles of earlier versions need some. @throws `DISPOSED` */
  readonly decodesBinary: boolean
  /** Why it computes without this package's kernels for GPUs where it could have them, else empty. @throws `DISPOSED` */
  readonly kernelFailure: string
  readonly disposed: boolean
  /**
   * Embeds tokenised sentences. `ids` and `attention` are row-major (rows, length).
   * Resolves to (rows, textWidth) float32.
   */
  embedText(
    ids: BigInt64Array,
    attention: BigInt64Array,
    rows: number,
    length: number,
    cancellation?: Cancellation,
  ): Promise<Float32Array>
  /**
   * Pools each class's sentence embeddings into one class vector. `sentences` is (sum of counts, textWidth), `counts`
   * the number of sentences of each class in order. The result is immutable and may be used with any scene of this model.
   */
  prepareClasses(sentences: Float32Array, counts: Int32Array, cancellation?: Cancellation): Promise<ClassSet>
  /**
   * Encodes a batch of images, in one forward pass of the encoder; the scenes come in the order of the images. Calls that
   * wait in one lane may share a pass.
   */
  encode(images: ImageView[], schedule: Schedule, cancellation?: Cancellation): Promise<Scene[]>
  /** A scene from what `features` of another gave. The caller answers for the features being those of this model. */
  restore(features: SceneFeatures, cancellation?: Cancellation): Promise<Scene>
  /** Also of a model that was disposed. */
  stats(): ModelStats
  /** Frees the weights once running jobs have ended; later calls reject with `DISPOSED`. Idempotent. */
  dispose(): void
}

/** Of one model, since it was loaded. A job is a call of `encode` or `decode`; the others are not counted. */
export interface ModelStats {
  /** Jobs that wait now, by lane. */
  queued: { interactive: number; batch: number }
  /** Jobs that run now. */
  running: number
  done: number
  failed: number
  /** Dropped before they started, by a cancellation or because their deadline passed. */
  aborted: number
  expired: number
  /** Refused because the queue was full. */
  rejected: number
  encode: RunStats
  decode: RunStats
  /** Of all weights; 0 once disposed. */
  weightBytes: number
  /** Alive on the device, whatever the number of their handles. */
  scenes: number
  sceneBytes: number
}

export interface RunStats {
  /** Forward passes, and the jobs and the images or prompts that they took. */
  runs: number
  jobs: number
  items: number
  /** Of a job, from the call to its start: the last 1024. */
  wait: Times
  /** Of a run: the last 1024. */
  run: Times
}

/** Milliseconds; percentiles by nearest rank. All 0 before the first. */
export interface Times {
  mean: number
  p50: number
  p95: number
  p99: number
}

/** An opaque set of K class vectors on the model's device. */
export class ClassSet {
  private constructor()
  /** K */
  readonly size: number
  dispose(): void
}

export interface ImageView {
  /** Row-major, channels interleaved; length = width * height * channels. */
  data: Uint8Array | Uint8ClampedArray | Uint16Array | Int16Array | Float32Array
  width: number
  height: number
  /** 1 gray, 3 RGB, 4 RGBA (alpha ignored). */
  channels: 1 | 3 | 4
  /** Intensities mapped to 0 and 255; `null`: [0, 255] for 8-bit data, else the 0.5 and 99.5 percentiles of the image. */
  window: [number, number] | null
  /**
   * Read `data` in place while the promise is pending, instead of copying it before the promise is handed back. The
   * caller answers for its memory until then: it must not be written to, resized or transferred.
   */
  borrow: boolean
}

export class Scene {
  private constructor()
  /** Of the original image. */
  readonly width: number
  readonly height: number
  /** Bytes kept on the device: the features, and what decoders make of them whatever the prompts. */
  readonly bytes: number
  readonly disposed: boolean
  /**
   * Decodes P prompts of the same shape (N points each, with or without a mask) with both decoders, or without classes
   * (where the model `decodesBinary`) with the semantic-agnostic one alone: the arrays from `semanticMasks` on are empty.
   * The addon splits large batches to bound its memory, and calls that wait in one lane, on one scene, with prompts of one
   * shape and one class set, may share a pass; results do not depend on either.
   */
  decode(
    prompts: PromptBatch,
    classes: ClassSet | null,
    options: DecodeOptions,
    schedule: Schedule,
    cancellation?: Cancellation,
  ): Promise<Decoded>
  /** Copies the features to the host. */
  features(cancellation?: Cancellation): Promise<SceneFeatures>
  /** Another handle of the same features, which are freed with the last one. */
  share(): Scene
  /** Frees the features once running jobs have ended. Idempotent. */
  dispose(): void
}

/** The features of a scene, for `Model.restore`. */
export interface SceneFeatures {
  /** Of the original image. */
  width: number
  height: number
  /** Of each feature tensor, with a leading batch dimension of 1. */
  shapes: number[][]
  /** The values of one tensor after the other, row-major. */
  data: Float32Array
}

export interface PromptBatch {
  /** P */
  count: number
  /** N, box corners included; at least 1. */
  pointsPerPrompt: number
  /** (P, N, 2): x, y in pixels of the original image. */
  points: Float32Array
  /** (P, N): 1 foreground, 0 background, 2 top-left and 3 bottom-right corner of a box, -1 padding. */
  labels: Int32Array
  /** (P, maskSize, maskSize) logits of an earlier decode, or `null`. */
  masks: Float32Array | null
}

export interface DecodeOptions {
  /** Three masks a prompt (whole, part, subpart) instead of one. */
  multimask: boolean
  /** Logits above this value are foreground (SAM: 0). */
  threshold: number
  /**
   * Memory for the bytes of `masks` besides: P * M * H * W of 0 and 1. On a `SharedArrayBuffer` it is written in place
   * while the promise is pending, else filled when it resolves.
   */
  out: Uint8Array | null
}

/** M is 3 with multimask, else 1; h = w = maskSize; H, W those of the original image; K that of the class set. */
export interface Decoded {
  masksPerPrompt: number
  /** (P * M, H, W), from the semantic-agnostic decoder. */
  masks: MaskBits
  /** (P, M, h, w) */
  logits: Logits
  /** (P, M) predicted IoU. */
  iou: Float32Array
  /** (P, H, W), from the semantic-aware decoder. */
  semanticMasks: MaskBits
  /** (P, h, w) */
  semanticLogits: Logits
  /** (P, M) IoU of each binary mask with the semantic mask at the original size; 1 where both are empty. */
  agreement: Float32Array
  /** (P, K + 1) probabilities that the prompted object is of each class; the last is "nothing". */
  classProbabilities: Float32Array
  /** (P, K) probability that an unprompted object of each class is in the image: the maximum over the CO-tokens. */
  presence: Float32Array
}

/** Binary masks, row-major, a bit a pixel in native memory that is freed with this object. */
export class MaskBits {
  private constructor()
  /** Writes a mask as bytes of 0 and 1. @throws `INVALID_ARGUMENT` beyond them, or where `target` has not H * W bytes */
  expand(index: number, target: Uint8Array): void
  /** As {@link maskStats}, from the bits. @throws `INVALID_ARGUMENT` beyond the masks, as those that follow */
  stats(index: number): MaskStats
  /** As {@link encodeRle}, from the bits. */
  rle(index: number): Uint32Array
  /** As {@link maskPolygons}, from the bits. */
  polygons(index: number): MaskRing[]
}

/** float32 values, row-major, in native memory that is freed with this object. */
export class Logits {
  private constructor()
  /** A copy of the values from `begin` to before `end`. @throws `INVALID_ARGUMENT` beyond them */
  slice(begin: number, end: number): Float32Array
}

/*
 * Masks: synchronous, on masks of 0 and non-zero, row-major, length = width * height.
 */

export interface Component {
  area: number
  /** Inclusive pixel indices [x0, y0, x1, y1]. */
  bbox: [number, number, number, number]
}

export interface MaskStats {
  /** Pixels set. */
  area: number
  /** Around them: inclusive pixel indices [x0, y0, x1, y1]; `null` where the mask is empty. */
  bbox: [number, number, number, number] | null
}

export interface MaskRing {
  /** x, y, ...: the first point is not repeated. */
  ring: Float64Array
  hole: boolean
}

export function maskStats(mask: Uint8Array, width: number, height: number): MaskStats
/** Labels 1..n in the order in which a row-major scan meets them. Connectivity 4 or 8. */
export function connectedComponents(
  mask: Uint8Array,
  width: number,
  height: number,
  connectivity: 4 | 8,
): { labels: Int32Array; components: Component[] }
/** A copy with every background region that does not touch the border, and is at most `maxArea` pixels (0: any), filled. Background is 4-connected. */
export function fillHoles(mask: Uint8Array, width: number, height: number, maxArea: number): Uint8Array
/** Zeros. Many of them begin where a large page of memory does, which the system maps sooner: the buffer is longer then. */
export function newBytes(length: number): Uint8Array
/** COCO's uncompressed run lengths: column-major, first run background. */
export function encodeRle(mask: Uint8Array, width: number, height: number): Uint32Array
export function decodeRle(counts: Uint32Array, width: number, height: number): Uint8Array
/** COCO's compressed string of run lengths, and back. */
export function compressRle(counts: Uint32Array): string
export function decompressRle(text: string): Uint32Array
/**
 * Boundaries between foreground and background along pixel edges: closed rings (collinear points dropped), in
 * coordinates where the pixel (0, 0) covers [-0.5, 0.5]². Outer rings run clockwise as seen on the screen, holes
 * counter-clockwise; a hole follows its outer ring. Foreground is 4-connected.
 */
export function maskPolygons(mask: Uint8Array, width: number, height: number): MaskRing[]
/** Intersection over union; 1 where both are empty. */
export function maskIou(a: Uint8Array, b: Uint8Array): number
/** Pixels of the mask that a decode makes of (side, side) logits at the original size. */
export function upscaledArea(
  logits: Float32Array,
  side: number,
  width: number,
  height: number,
  imageSize: number,
  resizeMode: 'longest' | 'stretch',
  threshold: number,
): number
/** (side, side) logits to (height, width) logits at the original size: those that a decode compares with the threshold. */
export function upscaleLogits(
  logits: Float32Array,
  side: number,
  width: number,
  height: number,
  imageSize: number,
  resizeMode: 'longest' | 'stretch',
): Float32Array
