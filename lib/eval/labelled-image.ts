import type { MedicalImage } from '../image.js'
import type { Mask } from '../mask.js'
import type { Spacing } from './surface.js'

export type Split = 'train' | 'test' | 'all'

/** A data set whose images have not been read yet. */
export interface Dataset {
  /** Name of its folder. */
  name: string
  /** SHA-256 of the files that list its images and classes. */
  hash: string
  images: ListedImage[]
}

export interface ListedImage {
  set: string
  /** Of the file, without its ending. */
  name: string
  /** Who or what was imaged: never on both sides of a split. */
  subject: string
  modality: string
  /** Of a pixel, in millimetres; `null` where it is not known. */
  spacing: Spacing | null
  /** @throws SegSamError where the image or its labels cannot be used */
  read(): Promise<LabelledImage>
}

export interface LabelledImage {
  image: MedicalImage
  /** Those to prompt: every instance where objects were drawn one by one, else each class's largest piece. */
  objects: LabelledObject[]
  /** Classes with an object in the image. */
  present: string[]
  /** Classes of which the image is known to have none; `null` where that is known of no class. */
  absent: string[] | null
  /** Labels that were left out, and why. */
  leftOut: string[]
}

export interface LabelledObject {
  /** From 1, within the image. */
  number: number
  /** Class id. */
  class: string
  /** Made anew at each call: an image may have hundreds of objects. */
  mask(): Mask
}

/** Smaller pieces are specks of a label map, and say nothing about their class. */
export const MIN_PIXELS = 12

/** Smaller objects are not prompted. */
export const MIN_PROMPTED_PIXELS = 30
