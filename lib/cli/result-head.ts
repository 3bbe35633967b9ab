import type { MedicalImage } from '../image.js'
import type { ModelInfo } from '../model.js'
import { packageVersion } from './package-root.js'

/** How every `result.json` begins. */
export interface ResultHead {
  schema: 1
  /** Version of seg-sam. */
  version: string
  image: { path: string; width: number; height: number; channels: 1 | 3 | 4 }
  model: ModelInfo
}

/** What was looked at, with what. */
export interface Subject {
  path: string
  image: MedicalImage
  model: ModelInfo
}

export function headOf({ path, image: { width, height, channels }, model }: Subject): ResultHead {
  return { schema: 1, version: packageVersion(), image: { path, width, height, channels }, model }
}
