import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ClassCard, VolumeSegment, VolumeSegmentation } from '../lib/index.js'
import { python, runTool } from './outside-tools.js'

const checker = fileURLToPath(new URL('reference/check_dicom_out.py', import.meta.url))

/** Codes, each as scheme, value and meaning. */
export interface ExpectedCodes {
  category: readonly string[]
  type: readonly string[]
  modifier: readonly string[] | null
}

export type ExpectedSegment = Pick<VolumeSegment, 'name' | 'colour' | 'mask' | 'fractions'> & { codes?: ExpectedCodes }

/** What {@link judgedByPydicom} should find in the files `seg-*.dcm` and `rt.dcm` of a folder. */
export interface Expected {
  volume: VolumeSegmentation['volume']
  segments: readonly ExpectedSegment[]
}

const SIDES: Record<string, string> = { '7771000': 'Left', '24028007': 'Right' }
const ABNORMAL = '49755003'

/** Of a class as its card has it: its first code, and what of the others is a side or says that it is abnormal. */
export function codesOf({ id, name, codes = [] }: Pick<ClassCard, 'id' | 'name' | 'codes'>): ExpectedCodes {
  const [first] = codes
  const side = codes.find(({ value }) => value in SIDES)
  const modifier = side ? ['SCT', side.value, SIDES[side.value]!] : null
  if (!first) return { ...TISSUE, type: ['99SEGSAM', id, name] }
  const category = codes.some(({ value }) => value === ABNORMAL)
    ? ['SCT', ABNORMAL, 'Morphologically Abnormal Structure']
    : ['SCT', '123037004', 'Anatomical Structure']
  return { category, type: [first.scheme, first.value, first.meaning!], modifier }
}

/** Of what has no class. */
export const TISSUE: ExpectedCodes = {
  category: ['SCT', '85756007', 'Tissue'],
  type: ['SCT', '85756007', 'Tissue'],
  modifier: null,
}

/** @param source folder of the files that the volume was read from */
export async function judgedByPydicom(folder: string, source: string, expected: Expected) {
  writeExpected(folder, source, expected)
  return runTool(python, [checker, folder])
}

/** Errors that dciodvfy finds; warnings are no concern of tests. */
export async function errorsOf(file: string): Promise<string[]> {
  const { output } = await runTool('dciodvfy', ['-new', file])
  if (!/^(Segmentation|RTStructureSet)$/m.test(output)) throw new Error(`dciodvfy takes ${file} for something else.`)
  return output.split('\n').filter((line) => line.startsWith('Error'))
}

function writeExpected(folder: string, source: string, { volume, segments }: Expected): void {
  const described = segments.map(({ name, colour, codes, mask, fractions }, s) => {
    writeFileSync(join(folder, `${s}.mask`), mask.toVolume())
    if (fractions) writeFileSync(join(folder, `${s}.fractions`), wholeOf(volume.shape, mask, fractions))
    return { name, colour, codes, mask: `${s}.mask`, fractions: fractions && `${s}.fractions` }
  })
  const slices = volume.dicom!.slices.map(({ sopInstanceUid, frame }) => [sopInstanceUid, frame])
  writeFileSync(
    join(folder, 'expected.json'),
    JSON.stringify({ source, shape: volume.shape, slices, segments: described }),
  )
}

/** Values of the box of a mask laid into a volume of zeros. */
export function wholeOf(
  [width, height, depth]: Expected['volume']['shape'],
  mask: VolumeSegment['mask'],
  values: Float32Array,
) {
  const whole = new Float32Array(width * height * depth)
  mask.data.forEach((_, at) => {
    const [i, j, k] = [
      at % mask.size[0],
      Math.floor(at / mask.size[0]) % mask.size[1],
      Math.floor(at / mask.size[0] / mask.size[1]),
    ]
    whole[mask.origin[0] + i + width * (mask.origin[1] + j + height * (mask.origin[2] + k))] = values[at]!
  })
  return whole
}
