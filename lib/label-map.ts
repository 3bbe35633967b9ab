import type { ClassCard, ClassCode } from './classes.js'
import { unexpected } from './errors.js'
import type { FoundObject } from './everything/found-object.js'
import { type Claim, type Group, merged } from './label-map/merge.js'
import { type CheckedRules, UNKNOWN_ID } from './label-map/regions.js'
import { type BoundingBox, Mask } from './mask.js'
import type { Hit } from './scene.js'
import { loadSharp } from './sharp.js'

/** A class that has pixels in a label map. */
export interface LabelledClass {
  /** Of its pixels in `data`: 1 for the first class that may be named, 2 for the second; `unknown` has the highest. */
  value: number
  /** `unknown` for what was segmented but is of no class. */
  id: string
  name: string
  codes: readonly ClassCode[]
  /** The objects of the class are told apart in `instances`. */
  countable: boolean
  /** In pixels. */
  area: number
  /**
   * Mean over the pixels of the evidence for them: probability of the class x predicted IoU x agreement, of the mask that
   * claims the pixel. 0 to 1, not calibrated; `null` for `unknown`.
   */
  confidence: number | null
}

/** One object of a countable class. */
export interface LabelledInstance {
  /** Of its pixels in `instanceData`, from 1 on, by falling confidence. */
  number: number
  /** That of its class. */
  value: number
  /** In pixels. */
  area: number
  /** Inclusive pixel indices [x0, y0, x1, y1]. */
  bbox: BoundingBox
  /** Probability of the class x predicted IoU x agreement. */
  confidence: number
}

interface LabelMapFields {
  width: number
  height: number
  data: Uint8Array | Uint16Array
  classes: LabelledClass[]
  instanceData: Uint16Array
  instances: LabelledInstance[]
  labelReason: Hit['labelReason']
}

/** An image divided among classes: every pixel has one value. */
export class LabelMap {
  /** Of the original image, in pixels. */
  readonly width: number
  readonly height: number
  /**
   * Row-major, one value a pixel: 0 background (no mask lies there), 1 to K the classes that may be named in their order,
   * 255 `unknown`. With more than 254 classes 16 bits wide, and `unknown` is 65535.
   */
  readonly data: Uint8Array | Uint16Array
  /** The classes that have pixels, by value. */
  readonly classes: readonly LabelledClass[]
  /** Row-major: 0, or the number of the object of a countable class. */
  readonly instanceData: Uint16Array
  readonly instances: readonly LabelledInstance[]
  /** Why no class but `unknown` is there: as that of a hit. `null` where one is. */
  readonly labelReason: Hit['labelReason']

  /** @internal */
  constructor(fields: LabelMapFields) {
    this.width = fields.width
    this.height = fields.height
    this.data = fields.data
    this.classes = fields.classes
    this.instanceData = fields.instanceData
    this.instances = fields.instances
    this.labelReason = fields.labelReason
  }

  /** The pixels of a class, by its value; empty where it has none. */
  mask(value: number): Mask {
    if (!Number.isInteger(value)) throw unexpected('INVALID_ARGUMENT', 'value', value, 'the value of a class')
    return this.#where(this.data, value)
  }

  /** The pixels of one object of a countable class, by its number; empty where there is none. */
  instanceMask(number: number): Mask {
    if (!Number.isInteger(number)) throw unexpected('INVALID_ARGUMENT', 'number', number, 'the number of an instance')
    return this.#where(this.instanceData, number)
  }

  /** A gray PNG of the values, 8 or 16 bits deep as `data` is. */
  toPNG(): Promise<Buffer> {
    return grayPNG(this.data, this)
  }

  /** A gray 16-bit PNG of `instanceData`. */
  toInstancePNG(): Promise<Buffer> {
    return grayPNG(this.instanceData, this)
  }

  #where(values: Uint8Array | Uint16Array, value: number): Mask {
    return new Mask(
      this.width,
      this.height,
      Uint8Array.from(values, (each) => (each === value ? 1 : 0)),
    )
  }
}

/**
 * Divides the image among the objects found in it. Each mask claims its pixels for the class of its object, and where
 * masks overlap the one with more evidence has them: probability of the class x predicted IoU x agreement of the two
 * decoders. The order of the objects does not matter.
 *
 * @param cards the classes that may be named, in the order of their values
 * @param settings.rules by class id, those of `unknown` among them
 * @param settings.minEvidence a mask with less is `unknown`
 */
export function labelMapOf(
  { width, height }: { width: number; height: number },
  objects: readonly FoundObject[],
  cards: readonly ClassCard[],
  settings: { rules: ReadonlyMap<string, CheckedRules>; minEvidence: number; semantic: 'trained' | 'untrained' },
): LabelMap {
  const indexOf = new Map(cards.map(({ id }, index) => [id, index]))
  const { rules, minEvidence, semantic } = settings
  const claims = objects.map((object): Claim => {
    const { counts, area, label } = object
    const evidence = evidenceFor(object)
    const classIndex = label && evidence >= minEvidence ? indexOf.get(label.id)! : null
    return { counts, area, classIndex, countable: classIndex !== null && isCountable(cards[classIndex]!), evidence }
  })
  const { owner, groups } = merged(
    { width, height },
    claims,
    (index) => rules.get(index === null ? UNKNOWN_ID : cards[index]!.id)!,
  )

  const wide = cards.length > 254
  const pixelValue = ({ classIndex }: Group) => (classIndex === null ? (wide ? 65535 : 255) : classIndex + 1)
  const instances: LabelledInstance[] = []
  const numbers = groups.map((group) => {
    const { bbox, area, confidence } = group
    if (!group.countable || !bbox) return 0
    return instances.push({ number: instances.length + 1, value: pixelValue(group), area, bbox, confidence })
  })
  const classes = classesOf(groups, cards, pixelValue)
  const values = [0, ...groups.map(pixelValue)]
  const instanceNumbers = [0, ...numbers]
  return new LabelMap({
    width,
    height,
    data: wide ? Uint16Array.from(owner, (group) => values[group]!) : Uint8Array.from(owner, (group) => values[group]!),
    classes,
    instanceData: Uint16Array.from(owner, (group) => instanceNumbers[group]!),
    instances,
    labelReason: reasonFor(classes, semantic),
  })
}

function classesOf(
  groups: Group[],
  cards: readonly ClassCard[],
  pixelValue: (group: Group) => number,
): LabelledClass[] {
  const classes = new Map<number, LabelledClass>()
  for (const group of groups.filter(({ area }) => area > 0)) {
    const value = pixelValue(group)
    const {
      id,
      name,
      codes = [],
      countable = false,
    } = group.classIndex === null ? { id: UNKNOWN_ID, name: 'Unknown' } : (cards[group.classIndex] as ClassCard)
    const known = classes.get(value) ?? { value, id, name, codes, countable, area: 0, confidence: 0 }
    const area = known.area + group.area
    const confidence = (known.confidence! * known.area + group.confidence * group.area) / area
    classes.set(value, { ...known, area, confidence: group.classIndex === null ? null : confidence })
  }
  return [...classes.values()].sort((a, b) => a.value - b.value)
}

function evidenceFor({ label, predictedIou, agreement }: FoundObject): number {
  return label ? label.probability * Math.min(Math.max(predictedIou, 0), 1) * (agreement ?? 0) : 0
}

function isCountable({ countable = false }: ClassCard): boolean {
  return countable
}

function reasonFor(classes: readonly LabelledClass[], semantic: 'trained' | 'untrained'): Hit['labelReason'] {
  if (semantic === 'untrained') return 'untrained'
  return classes.some(({ confidence }) => confidence !== null) ? null : 'nothing'
}

async function grayPNG(
  values: Uint8Array | Uint16Array,
  { width, height }: { width: number; height: number },
): Promise<Buffer> {
  const sharp = await loadSharp()
  return sharp(values, { raw: { width, height, channels: 1 } })
    .toColourspace(values instanceof Uint16Array ? 'grey16' : 'b-w')
    .png()
    .toBuffer()
}
