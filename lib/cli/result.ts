import type { Mask, Rle } from '../mask.js'
import type { Prompt } from '../prompts.js'
import type { Hit, Label } from '../scene.js'
import type { FormatFiles } from './formats.js'
import { headOf, type ResultHead, type Subject } from './result-head.js'

/**
 * What `seg-sam segment --json` writes to stdout, and `--out` to `result.json`. Fields may be added; those here keep
 * their meaning as long as `schema` is 1.
 */
export interface SegmentResult extends ResultHead {
  /** One for each prompt, in their order. */
  objects: ObjectResult[]
  /** Names of the files of `--format` in the folder given with `--out`, by format. */
  formats: FormatFiles
  /** Wall-clock time of each step. */
  seconds: Record<string, number>
}

export interface ObjectResult {
  prompt: Prompt
  /** The most probable class, or `null` for the reason in `labelReason`. */
  label: Label | null
  labelReason: Hit['labelReason']
  /** The next most probable classes, at most five. */
  candidates: Label[]
  /** Classes present in the image that this prompt does not mean. */
  others: Label[]
  /** The model's own estimate of the IoU of `mask` with the truth. */
  predictedIou: number
  /** IoU of `mask` with `semanticMask`; both `null` where the model's semantic part is untrained. */
  agreement: number | null
  mask: MaskResult
  semanticMask: MaskResult | null
  /** With `--multimask`, all three proposals, of which `mask` is the one with the highest `predictedIou`. */
  proposals: { predictedIou: number; agreement: number | null; mask: MaskResult }[]
}

export interface MaskResult {
  /** In pixels. */
  area: number
  /** Inclusive pixel indices [x0, y0, x1, y1]; `null` for an empty mask. */
  bbox: [number, number, number, number] | null
  /** COCO's compressed run-length encoding. */
  rle: Rle
  /** PNG in the folder given with `--out`, 255 inside and 0 outside; `null` without `--out`. */
  file: string | null
}

const MAX_CANDIDATES = 5

export interface Findings extends Subject {
  prompts: readonly Prompt[]
  hits: readonly Hit[]
  seconds: Record<string, number>
}

/** @param written file names of masks that were written to disk */
export function describe(findings: Findings, written: ReadonlyMap<Mask, string>, formats: FormatFiles): SegmentResult {
  const { prompts, hits, seconds } = findings
  return {
    ...headOf(findings),
    objects: hits.map((hit, i) => describeObject(hit, prompts[i]!, written)),
    formats,
    seconds,
  }
}

function describeObject(hit: Hit, prompt: Prompt, written: ReadonlyMap<Mask, string>): ObjectResult {
  const describeMask = (mask: Mask): MaskResult => ({
    area: mask.area,
    bbox: mask.bbox,
    rle: mask.toRLE(),
    file: written.get(mask) ?? null,
  })
  return {
    prompt,
    label: hit.label,
    labelReason: hit.labelReason,
    candidates: hit.candidates.slice(0, MAX_CANDIDATES),
    others: hit.others,
    predictedIou: hit.predictedIou,
    agreement: hit.agreement,
    mask: describeMask(hit.mask),
    semanticMask: hit.semanticMask && describeMask(hit.semanticMask),
    proposals:
      hit.masks.length === 1
        ? []
        : hit.masks.map(({ predictedIou, agreement, mask }) => ({ predictedIou, agreement, mask: describeMask(mask) })),
  }
}
