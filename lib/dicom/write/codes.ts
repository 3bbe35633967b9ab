import type { ClassCode } from '../../classes.js'
import { unexpected } from '../../errors.js'
import type { VolumeSegment } from '../../volume/segmentation.js'
import type { Dataset } from './encode.js'
import { text } from './values.js'

/** A coded concept, of which DICOM wants the meaning too. */
export type Code = readonly [scheme: string, value: string, meaning: string]

/** CID 7150, Segmentation Property Categories, in SNOMED CT. */
const CATEGORIES: Record<string, string> = {
  '85756007': 'Tissue',
  '123037004': 'Anatomical Structure',
  '260787004': 'Physical object',
  '49755003': 'Morphologically Abnormal Structure',
  '246464006': 'Function',
  '309825002': 'Spatial and Relational Concept',
  '91720002': 'Body Substance',
}

/** CID 244, Laterality, in SNOMED CT. */
const SIDES: Record<string, string> = {
  '24028007': 'Right',
  '7771000': 'Left',
  '51440002': 'Bilateral',
  '66459002': 'Unilateral',
}

const TISSUE: Code = ['SCT', '85756007', 'Tissue']
const ANATOMICAL_STRUCTURE: Code = ['SCT', '123037004', 'Anatomical Structure']
const BACKGROUND: Code = ['DCM', '125040', 'Background']

/** Of classes without a code: their own id. Schemes of one's own begin with 99 (PS3.3 8.2). */
const OWN_SCHEME = '99SEGSAM'

export interface Property {
  category: Code
  type: Code
  /** Left or right. */
  modifier: Code | null
}

/**
 * What a segment is, in codes. Of the codes on its class card the first of CID 7150 is the category, the first of CID 244
 * the side, and the first other one the type, SNOMED CT before other schemes; without a category it is an anatomical
 * structure. A class without a code has its id as one of the scheme `99SEGSAM`, a segment without a class is just tissue.
 *
 * @throws SegSamError `INVALID_ARGUMENT` for a scheme of more than 16 characters
 */
export function propertyOf({ name, class: found }: VolumeSegment): Property {
  if (!found) return { category: TISSUE, type: TISSUE, modifier: null }
  const named = (list: Record<string, string>) => {
    const code = found.codes.find(({ scheme, value }) => scheme === 'SCT' && Object.hasOwn(list, value))
    return code ? (['SCT', code.value, list[code.value]!] as const) : null
  }
  const [category, modifier] = [named(CATEGORIES), named(SIDES)]
  const others = found.codes.filter(
    ({ scheme, value }) => scheme !== 'SCT' || !(Object.hasOwn(CATEGORIES, value) || Object.hasOwn(SIDES, value)),
  )
  const code = others.find(({ scheme }) => scheme === 'SCT') ?? others[0]
  if (!code) return { category: category ?? TISSUE, type: [OWN_SCHEME, found.id, found.name], modifier }
  checkScheme(code, name)
  return {
    category: category ?? ANATOMICAL_STRUCTURE,
    type: [code.scheme, code.value, code.meaning ?? found.name],
    modifier,
  }
}

export const BACKGROUND_PROPERTY: Property = { category: BACKGROUND, type: BACKGROUND, modifier: null }

/** An item of a code sequence (PS3.3 8.8): values that are too long for Code Value have an attribute of their own. */
export function codeItem([scheme, value, meaning]: Code): Dataset {
  return {
    ...(value.length <= 16 ? { CodeValue: value } : { LongCodeValue: value }),
    CodingSchemeDesignator: scheme,
    CodeMeaning: text(meaning, 64),
  }
}

function checkScheme({ scheme }: ClassCode, name: string): void {
  if (scheme.length <= 16) return
  throw unexpected(
    'INVALID_ARGUMENT',
    `the code scheme of segment ${name}`,
    scheme,
    'a designator of at most 16 characters, such as SCT',
  )
}
