import type { VolumeSegment, VolumeSegmentation } from '../../volume/segmentation.js'
import { algorithmItem } from './algorithm.js'
import { BACKGROUND_PROPERTY, codeItem, type Property, propertyOf } from './codes.js'
import { dicomLab } from './colour.js'
import type { Dataset } from './encode.js'
import type { CheckedSegOptions } from './seg-options.js'
import { newUid } from './uid.js'
import { isCut, text } from './values.js'

/** Items of the Segment Sequence (PS3.3 C.8.20.4), numbered from 1; of a label map first the background, 0. */
export function segmentItems({ segments, model }: VolumeSegmentation, options: CheckedSegOptions): Dataset[] {
  const algorithm = {
    SegmentAlgorithmType: options.algorithmType,
    SegmentAlgorithmName: text(model.name, 64),
    SegmentationAlgorithmIdentificationSequence: [algorithmItem(model)],
  }
  const items = segments.map((segment, i) => ({
    ...propertyItems(propertyOf(segment)),
    SegmentNumber: i + 1,
    ...labelOf(segment),
    ...algorithm,
    RecommendedDisplayCIELabValue: dicomLab(segment.colour),
    TrackingID: text(segment.name, 1024),
    TrackingUID: newUid(),
  }))
  if (options.type !== 'LABELMAP') return items
  const background = { ...propertyItems(BACKGROUND_PROPERTY), SegmentNumber: 0, SegmentLabel: 'Background' }
  return [{ ...background, ...algorithm }, ...items]
}

function propertyItems({ category, type, modifier }: Property): Dataset {
  const sides = modifier ? { SegmentedPropertyTypeModifierCodeSequence: [codeItem(modifier)] } : {}
  return {
    SegmentedPropertyCategoryCodeSequence: [codeItem(category)],
    SegmentedPropertyTypeCodeSequence: [{ ...codeItem(type), ...sides }],
  }
}

/** The whole name is in the description where the label has no room for it. */
function labelOf({ name }: VolumeSegment): Dataset {
  return { SegmentLabel: text(name, 64), ...(isCut(name, 64) && { SegmentDescription: text(name, 1024) }) }
}
