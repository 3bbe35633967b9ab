import type { MedicalImage } from '../image.js'
import type { ModelInfo } from '../model.js'
import { packageVersion } from '../package-root.js'
import type { SliceResult } from './input.js'

/** How every `result.json` begins. */
export interface ResultHead {
  schema: 1
  /** Version of seg-sam. */
  version: string
  /** `slice` tells which one of a volume the image is; `null` for a picture. */
  image: { path: string; width: number; height: number; channels: 1 | 3 | 4; slice: SliceResult | null }
  model: ModelInfo
}

/** What was looked at, with what. */
export interface Subject {
  path: string
  image: MedicalImage
  slice: SliceResult | null
  model: ModelInfo
}

export function headOf({ path, image: { width, height, channels }, slice, model }: Subject): ResultHead {
  return { schema: 1, version: packageVersion(), image: { path, width, height, channels, slice }, model }
}
