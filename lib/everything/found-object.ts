import { addon } from '../addon.js'
import { type BoundingBox, Mask, type Rle } from '../mask.js'
import type { Hit } from '../scene.js'

/** What is known of an object but its mask. */
export interface FoundObjectFields extends Pick<Hit, 'label' | 'labelReason' | 'candidates'> {
  /** In pixels. */
  area: number
  /** Inclusive pixel indices [x0, y0, x1, y1]. */
  bbox: BoundingBox
  /** The model's estimate of the mask's IoU with the truth; as in SAM it is not clamped to 0 to 1. */
  predictedIou: number
  /** IoU of the masks above and below the shifted threshold, 0 to 1. */
  stabilityScore: number
  /** IoU of the mask with the semantic mask of the same point; `null` where the semantic part is untrained. */
  agreement: number | null
  /** The grid point that the mask answers. */
  point: { x: number; y: number }
  /** The crop that the mask was found in, as inclusive pixel indices [x0, y0, x1, y1]: the whole image without crops. */
  cropBox: BoundingBox
}

/** An object that nobody prompted: a mask found from a point of a grid, and its name. Held as run lengths. */
export class FoundObject implements FoundObjectFields {
  readonly width: number
  readonly height: number
  readonly area: number
  readonly bbox: BoundingBox
  readonly predictedIou: number
  readonly stabilityScore: number
  readonly agreement: number | null
  readonly point: { x: number; y: number }
  readonly cropBox: BoundingBox
  /** The most probable class of the object, as in a hit of `scene.segment`. */
  readonly label: Hit['label']
  readonly labelReason: Hit['labelReason']
  readonly candidates: Hit['candidates']
  /** @internal COCO's run lengths: column-major, first run background. */
  readonly counts: Uint32Array

  /** @internal */
  constructor(size: { width: number; height: number }, counts: Uint32Array, fields: FoundObjectFields) {
    this.width = size.width
    this.height = size.height
    this.counts = counts
    this.area = fields.area
    this.bbox = fields.bbox
    this.predictedIou = fields.predictedIou
    this.stabilityScore = fields.stabilityScore
    this.agreement = fields.agreement
    this.point = fields.point
    this.cropBox = fields.cropBox
    this.label = fields.label
    this.labelReason = fields.labelReason
    this.candidates = fields.candidates
  }

  /** The mask, decoded at every access: keep it while you use it. */
  get mask(): Mask {
    return new Mask(this.width, this.height, addon().decodeRle(this.counts, this.width, this.height))
  }

  /** COCO's compressed run-length encoding. */
  get rle(): Rle {
    return { size: [this.height, this.width], counts: addon().compressRle(this.counts) }
  }
}
