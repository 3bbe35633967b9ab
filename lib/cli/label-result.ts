import { classColour } from '../label-map/colours.js'
import type { LabelledClass, LabelMap } from '../label-map.js'
import type { Hit } from '../scene.js'
import type { FormatFiles } from './formats.js'
import { headOf, type ResultHead, type Subject } from './result-head.js'

/**
 * What `seg-sam label --json` writes to stdout, and `--out` to `result.json`. Fields may be added; those here keep their
 * meaning as long as `schema` is 1.
 */
export interface LabelResult extends ResultHead {
  /** By the value of their pixels in `labels.png`, in which 0 is background. */
  classes: ClassResult[]
  /** The objects of countable classes, by the number of their pixels in `instances.png`. */
  instances: InstanceResult[]
  /** Why there is no class but `unknown`; `null` where there is one. */
  labelReason: Hit['labelReason']
  /** In the folder given with `--out`; `null` without it, and for `instances` where no class is countable. */
  files: { labels: string | null; instances: string | null; overlay: string | null }
  /** Names of the files of `--format` in that folder, by format. */
  formats: FormatFiles
  /** Wall-clock time of each step. */
  seconds: Record<string, number>
}

export interface ClassResult {
  value: number
  id: string
  name: string
  codes: LabelledClass['codes']
  countable: boolean
  /** In the overlay, `#RRGGBB`. */
  colour: string
  pixels: number
  /** Share of the image, 0 to 1. */
  area: number
  confidence: number | null
}

export interface InstanceResult {
  number: number
  /** Of its class. */
  value: number
  pixels: number
  /** Inclusive pixel indices [x0, y0, x1, y1]. */
  bbox: [number, number, number, number]
  confidence: number
}

export interface Labelling extends Subject {
  map: LabelMap
}

export function describeLabels(labelling: Labelling): Omit<LabelResult, 'files' | 'formats' | 'seconds'> {
  const { image, map } = labelling
  return {
    ...headOf(labelling),
    classes: map.classes.map(({ area, ...found }) => ({
      value: found.value,
      id: found.id,
      name: found.name,
      codes: found.codes,
      countable: found.countable,
      colour: colourOf(found),
      pixels: area,
      area: area / (image.width * image.height),
      confidence: found.confidence,
    })),
    instances: map.instances.map(({ number, value, area, bbox, confidence }) => ({
      number,
      value,
      pixels: area,
      bbox,
      confidence,
    })),
    labelReason: map.labelReason,
  }
}

export function colourOf({ value, confidence }: Pick<LabelledClass, 'value' | 'confidence'>): string {
  return classColour(value, confidence === null)
}
