import { z } from 'zod'
import type {
  Cancellation,
  Decoded,
  DecodeOptions,
  ImageView,
  Model,
  ModelStats,
  PromptBatch,
  Scene,
  SceneFeatures,
  Schedule,
} from '../binding.js'
import type { Device } from './addon.js'
import type { ClassVectors } from './classes.js'
import { SegSamError } from './errors.js'

const DEVICES = /^(auto|cpu|cuda(:\d{1,3})?)$/
const one = z.custom<Device>((value) => typeof value === 'string' && DEVICES.test(value))

/** The option `device` of `SegSam.load`. */
export const devicesSchema = z
  .union([one.transform((device): Device[] => [device]), z.array(one).min(1).max(16)])
  .default(['auto'])
  .describe("'auto', 'cpu', 'cuda' or 'cuda:N', or a list of 1 to 16 of these")

/** A native model, and how many of its jobs have not ended. */
class Replica {
  readonly model: Model
  #jobs = 0

  constructor(model: Model) {
    this.model = model
  }

  get jobs(): number {
    return this.#jobs
  }

  /** Starts a job at once. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    this.#jobs++
    try {
      return await job()
    } finally {
      this.#jobs--
    }
  }
}

/** A scene on the device that encoded it, which is where it is decoded. */
export class PlacedScene {
  /** Of the original image, in pixels. */
  readonly width: number
  readonly height: number
  /** Memory on the device. */
  readonly bytes: number
  readonly #scene: Scene
  readonly #replica: Replica

  constructor(scene: Scene, replica: Replica) {
    this.width = scene.width
    this.height = scene.height
    this.bytes = scene.bytes
    this.#scene = scene
    this.#replica = replica
  }

  get disposed(): boolean {
    return this.#scene.disposed
  }

  decode(
    prompts: PromptBatch,
    vectors: ClassVectors | null,
    options: DecodeOptions,
    schedule: Schedule,
    cancellation?: Cancellation,
  ): Promise<Decoded> {
    return this.#replica.run(async () => {
      const classes = vectors && (await vectors.on(this.#replica.model))
      return this.#scene.decode(prompts, classes, options, schedule, cancellation)
    })
  }

  features(): Promise<SceneFeatures> {
    return this.#replica.run(() => this.#scene.features())
  }

  share(): PlacedScene {
    return new PlacedScene(this.#scene.share(), this.#replica)
  }

  dispose(): void {
    this.#scene.dispose()
  }
}

/**
 * The same model once for each device that it was loaded on. An image goes to the replica with the fewest jobs that have
 * not ended, and to each in turn where several have as few.
 */
export class Replicas {
  readonly #replicas: readonly Replica[]
  /** The one that comes first where several have as few jobs. */
  #next = 0

  private constructor(models: readonly Model[]) {
    this.#replicas = models.map((model) => new Replica(model))
  }

  /**
   * All of them or none: where one fails, the others are disposed.
   *
   * @param load of the entry of `devices` at `index`
   * @throws SegSamError what `load` raises, naming the device where there are several; `INVALID_ARGUMENT` where they would
   *   compute in different precisions
   */
  static async load(
    devices: readonly Device[],
    load: (device: Device, index: number) => Promise<Model>,
  ): Promise<Replicas> {
    const results = await Promise.allSettled(devices.map(load))
    const models = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    try {
      for (const [index, result] of results.entries()) {
        if (result.status === 'rejected') throw named(result.reason, devices, index)
      }
      checkPrecisions(models)
    } catch (error) {
      for (const model of models) model.dispose()
      throw error
    }
    return new Replicas(models)
  }

  /** For what is computed once for all: it alone has a text encoder. */
  get first(): Model {
    return this.#replicas[0]!.model
  }

  /** For example `cpu`, or `cuda:0, cuda:1`. */
  get device(): string {
    return this.#replicas.map(({ model }) => model.device).join(', ')
  }

  get disposed(): boolean {
    return this.first.disposed
  }

  async encode(images: ImageView[], schedule: Schedule, cancellation?: Cancellation): Promise<PlacedScene[]> {
    const replica = this.#leastBusy()
    const scenes = await replica.run(() => replica.model.encode(images, schedule, cancellation))
    return scenes.map((scene) => new PlacedScene(scene, replica))
  }

  async restore(features: SceneFeatures): Promise<PlacedScene> {
    const replica = this.#leastBusy()
    return new PlacedScene(await replica.run(() => replica.model.restore(features)), replica)
  }

  /** In the order of the devices. */
  stats(): { device: string; stats: ModelStats }[] {
    return this.#replicas.map(({ model }) => ({ device: model.device, stats: model.stats() }))
  }

  dispose(): void {
    for (const { model } of this.#replicas) model.dispose()
  }

  #leastBusy(): Replica {
    const inTurn = [...this.#replicas.slice(this.#next), ...this.#replicas.slice(0, this.#next)]
    const chosen = inTurn.reduce((best, replica) => (replica.jobs < best.jobs ? replica : best))
    this.#next = (this.#replicas.indexOf(chosen) + 1) % this.#replicas.length
    return chosen
  }
}

function named(error: unknown, devices: readonly Device[], index: number): unknown {
  if (devices.length === 1 || !(error instanceof SegSamError)) return error
  return new SegSamError(error.code, `device[${index}] (${devices[index]}): ${error.message}`, { cause: error })
}

/** Or an answer would depend on the device that the image went to, and a saved scene would fit some of them only. */
function checkPrecisions([first, ...others]: readonly Model[]): void {
  const other = others.find(({ precision }) => precision !== first!.precision)
  if (!other) return
  throw new SegSamError(
    'INVALID_ARGUMENT',
    `precision 'auto' is ${first!.precision} on ${first!.device} and ${other.precision} on ${other.device}; all devices ` +
      "of a model compute in one. Pass the precision that they shall have, such as 'fp32'.",
  )
}
