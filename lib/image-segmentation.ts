import type { ClassCode } from './classes.js'
import { unexpected } from './errors.js'
import { checkImage, type MedicalImage } from './image.js'
import { classColour } from './label-map/colours.js'
import { UNKNOWN_ID } from './label-map/regions.js'
import type { LabelledClass, LabelMap } from './label-map.js'
import { Mask } from './mask.js'
import type { ModelInfo } from './model.js'
import type { Hit, Label } from './scene.js'

/** What is known of an object but where it lies. */
export interface ObjectDescription {
  /** For people, for example `Liver`; where no class is known, `Object 1`. */
  name: string
  /** Its class, from the class card; `null` where the model names none. */
  class: { id: string; name: string; codes: readonly ClassCode[] } | null
  /** Of `class`, 0 to 1, not calibrated; `null` without a class. */
  probability: number | null
  /** The model's estimate of the IoU of the mask with the truth; `null` where there is none. */
  predictedIou: number | null
  /** `#RRGGBB` */
  colour: string
}

/** One object of an image, or all pixels of a class. Objects may overlap. */
export interface ImageObject extends ObjectDescription {
  mask: Mask
}

/** What was segmented in an image, and by what: all that the writers of files need. */
export interface ImageSegmentation {
  /** With `spacing`, the size of a pixel in mm, [x, y], where it is known: a slice of a volume has it. */
  image: MedicalImage & { spacing?: readonly [number, number] }
  /** What the image is called in files, for example `scan.png`. */
  name: string
  objects: readonly ImageObject[]
  /** What made it. */
  model: Pick<ModelInfo, 'name' | 'version' | 'hash'>
}

/** What `scene.segment` or `scene.segmentEverything` found, as objects in the same order. */
export function objectsOfHits(hits: readonly Pick<Hit, 'mask' | 'label' | 'predictedIou'>[]): ImageObject[] {
  return hits.map(({ mask, label, predictedIou }, i) => ({ ...describedByLabel(label, i + 1), predictedIou, mask }))
}

/** The n-th object, from 1 on, of what was prompted or found. */
export function describedByLabel(label: Label | null, number: number): Omit<ObjectDescription, 'predictedIou'> {
  return {
    name: label?.name ?? `Object ${number}`,
    class: label && { id: label.id, name: label.name, codes: label.codes },
    probability: label?.probability ?? null,
    colour: classColour(number, false),
  }
}

/** A label map as objects: one a class, or one an object where the class is countable. */
export function objectsOfLabelMap(map: LabelMap): ImageObject[] {
  return map.classes.flatMap((found): ImageObject[] => {
    const whole = describedByClass(found)
    if (!found.countable) return [{ ...whole, mask: map.mask(found.value) }]
    return map.instances
      .filter(({ value }) => value === found.value)
      .map(({ number }, i) => ({ ...whole, name: `${found.name} ${i + 1}`, mask: map.instanceMask(number) }))
  })
}

/** All that has the value of a class in a label map, of an image or a volume. */
export function describedByClass({
  value,
  id,
  name,
  codes,
}: Pick<LabelledClass, 'value' | 'id' | 'name' | 'codes'>): ObjectDescription {
  const isUnknown = id === UNKNOWN_ID
  return {
    name,
    class: isUnknown ? null : { id, name, codes },
    probability: null,
    predictedIou: null,
    colour: classColour(value, isUnknown),
  }
}

/** @throws SegSamError `INVALID_IMAGE`; `INVALID_ARGUMENT` where a mask has not the size of the image */
export function checkImageSegmentation({ image, objects }: ImageSegmentation): void {
  checkImage(image, 'image')
  if (!Array.isArray(objects)) throw unexpected('INVALID_ARGUMENT', 'objects', objects, 'a list of objects')
  for (const { name, mask } of objects as readonly ImageObject[]) {
    if (!(mask instanceof Mask)) throw unexpected('INVALID_ARGUMENT', `the mask of ${name}`, mask, 'a Mask')
    if (mask.width === image.width && mask.height === image.height) continue
    throw unexpected(
      'INVALID_ARGUMENT',
      `the size of the mask of ${name}`,
      `${mask.width} x ${mask.height}`,
      `that of the image, ${image.width} x ${image.height}`,
    )
  }
}
