import { addon } from '../addon.js'
import { type BoundingBox, Mask } from '../mask.js'
import type { MaskLogits } from '../prompts.js'
import type { Hit, Label } from '../scene.js'

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
  /** @internal */
  readonly logits: MaskLogits
  readonly #counts: Uint32Array

  /** @internal */
  constructor(slice: number, from: number, mask: Mask, hit: Hit, overlap: number | null) {
    this.width = mask.width
    this.height = mask.height
    this.slice = slice
    this.from = from
    this.area = mask.area
    this.bbox = mask.bbox
    this.predictedIou = hit.predictedIou
    this.agreement = hit.agreement
    this.overlap = overlap
    this.label = hit.label
    this.logits = hit.logits
    this.#counts = addon().encodeRle(mask.data, mask.width, mask.height)
  }

  /** Decoded at every access: keep it while you use it. */
  get mask(): Mask {
    return new Mask(this.width, this.height, addon().decodeRle(this.#counts, this.width, this.height))
  }
}
