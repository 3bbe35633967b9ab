import { z } from 'zod'
import { checkOptions, parsedOptions } from '../../options.js'

export interface DicomSegOptions {
  /**
   * `BINARY`: one bit a voxel; segments may overlap. `FRACTIONAL`: the `fractions` of each segment, as probabilities in
   * steps of 1/255. `LABELMAP`: one number a voxel, small with many segments, which may not overlap; new in the standard
   * of 2024, so that few programs read it. Default `BINARY`.
   */
  type?: 'BINARY' | 'FRACTIONAL' | 'LABELMAP'
  /** Repeat what the source says of the patient and study. Default `false`: those attributes have no value. */
  keepPatient?: boolean
  /** `SEMIAUTOMATIC` where a person gave the prompts. Default `AUTOMATIC`. */
  algorithmType?: 'AUTOMATIC' | 'SEMIAUTOMATIC'
  /** Content Description, at most 64 characters. */
  description?: string
  /** Content Creator's Name, as DICOM writes names: `Family^Given`. */
  creator?: string
  /** Default 1. */
  seriesNumber?: number
}

const line = z.string().max(64).default('').describe('a string of at most 64 characters')
/** Of the writers of every DICOM file. */
export const COMMON_OPTIONS = {
  keepPatient: z.boolean().default(false).describe('true or false'),
  algorithmType: z.enum(['AUTOMATIC', 'SEMIAUTOMATIC']).default('AUTOMATIC').describe('AUTOMATIC or SEMIAUTOMATIC'),
  description: line,
  creator: line,
  seriesNumber: z.int().min(0).max(2147483647).default(1).describe('a whole number, from 0 on'),
}

const shape = {
  ...COMMON_OPTIONS,
  type: z.enum(['BINARY', 'FRACTIONAL', 'LABELMAP']).default('BINARY').describe('BINARY, FRACTIONAL or LABELMAP'),
}

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkedSegOptions(options: DicomSegOptions) {
  checkOptions(options, Object.keys(shape) as (keyof DicomSegOptions)[])
  return parsedOptions(options, shape)
}

export type CheckedSegOptions = ReturnType<typeof checkedSegOptions>
