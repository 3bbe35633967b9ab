import { addon } from '../addon.js'
import type { PixelData } from '../image.js'
import { type BoundingBox, Mask } from '../mask.js'
import type { MaskLogits } from '../prompts.js'
import type { Hit, Label } from '../scene.js'
import type { VolumeSlice } from '../volume.js'

/** What is known of an object on one slice. Its mask is held as run lengths. */
export class FollowedSlice {
  readonly width: number
  readonly height: number
  /** Of the slice, along the axis. */
  readonly slice: number
  /** The prompted slice that it was reached from; itself where it was prompted. */
  readonly from: number
  /** In pixels. */
  readonly area: number
  /** Inclusive pixel indices [x0, y0, x1, y1]; `null` where the mask is empty. */
  readonly bbox: BoundingBox | null
  readonly predictedIou: number
  /** IoU of the masks of the two decoders; `null` where the semantic part is untrained. */
  readonly agreement: number | null
  /** IoU with the mask of the slice that it was carried from; `null` where it was prompted. */
  readonly overlap: number | null
  readonly label: Label | null
  /** Of the class that it was named on its prompt, 0 to 1; `null` where it was not named there. */
  readonly classProbability: number | null
  /** Of the pixels under the mask, as they were shown to the model; 0 where it is empty. */
  readonly intensity: { mean: number; deviation: number }
  /** @internal */
  readonly logits: MaskLogits
  readonly #counts: Uint32Array

  /**
   * @param prompted the slice that it was reached from; `null`: it was prompted here
   * @internal
   */
  constructor(image: VolumeSlice, mask: Mask, hit: Hit, prompted: FollowedSlice | null, overlap: number | null) {
    this.width = mask.width
    this.height = mask.height
    this.slice = image.index
    this.from = prompted?.slice ?? image.index
    this.area = mask.area
    this.bbox = mask.bbox
    this.predictedIou = hit.predictedIou
    this.agreement = hit.agreement
    this.overlap = overlap
    this.label = hit.label
    this.classProbability = probabilityOf((prompted ?? hit).label, hit)
    this.logits = hit.logits
    // While the mask is bits.
    this.#counts = mask.runs()
    this.intensity = intensityOf(image.data, image.channels, mask)
  }

  /** Decoded at every access: keep it while you use it. */
  get mask(): Mask {
    return new Mask(this.width, this.height, addon().decodeRle(this.#counts, this.width, this.height))
  }
}

function probabilityOf(named: Label | null, { label, candidates }: Hit): number | null {
  if (!named) return null
  return [...(label ? [label] : []), ...candidates].find(({ id }) => id === named.id)?.probability ?? 0
}

/** Mean and standard deviation of the values under a mask, of all channels; those that are not finite do not count. */
function intensityOf(data: PixelData, channels: number, mask: Mask): { mean: number; deviation: number } {
  let count = 0
  let mean = 0
  let squares = 0
  for (const [at, isSet] of mask.data.entries()) {
    if (!isSet) continue
    for (let c = 0; c < channels; c++) {
      const value = data[at * channels + c]!
      if (!Number.isFinite(value)) continue
      // Welford 1962, Note on a method for calculating corrected sums of squares and products.
      const difference = value - mean
      mean += difference / ++count
      squares += difference * (value - mean)
    }
  }
  return { mean, deviation: count > 0 ? Math.sqrt(squares / count) : 0 }
}
