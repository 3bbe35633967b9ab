import type { ClassCard, ClassCode } from '../classes.js'
import { unexpected } from '../errors.js'
import { checkImageSegmentation, type ImageObject, type ImageSegmentation } from '../image-segmentation.js'
import { UNKNOWN_ID } from '../label-map/regions.js'
import type { Mask, Rle } from '../mask.js'
import { checkOptions } from '../options.js'
import { corners } from './corners.js'

export interface CocoOptions {
  /**
   * Of what the categories are made, for example `model.classes`: the n-th card has the id n, and what is of no class the
   * one after the last. Default: the classes of the objects in the order in which they come, numbered in the same way.
   */
  classes?: readonly Pick<ClassCard, 'id' | 'name' | 'codes'>[]
  /**
   * How masks are written. `rle` (default): exactly, as COCO's compressed run lengths. `polygons`: as lists of points, but
   * as run lengths where there is a hole, of which COCO's polygons know nothing.
   */
  segmentation?: 'rle' | 'polygons'
}

/** A data set in COCO's format (Lin et al., Microsoft COCO, 2014; https://cocodataset.org/#format-data). */
export interface CocoDataset {
  info: { description: string }
  images: { id: number; width: number; height: number; file_name: string }[]
  annotations: CocoAnnotation[]
  categories: CocoCategory[]
}

export interface CocoAnnotation {
  id: number
  image_id: number
  category_id: number
  segmentation: Rle | number[][]
  /** Pixels. */
  area: number
  /** [x, y, width, height], (0, 0) the corner of the image. */
  bbox: [number, number, number, number]
  iscrowd: 0
  /** Probability of the class, where there is one. */
  score?: number
  predicted_iou?: number
}

export interface CocoCategory {
  id: number
  name: string
  supercategory: string
  /** Id of the class card; `unknown` for what is of no class. */
  class_id: string
  codes: readonly ClassCode[]
}

/**
 * The objects of one image or more as a COCO data set, for pycocotools and all that reads this format. Coordinates begin at
 * the corner of the image, as COCO has them: 0.5 more than elsewhere in this package. An object without pixels has a `bbox`
 * of zeros.
 *
 * @throws SegSamError `INVALID_ARGUMENT`, `INVALID_IMAGE`
 */
export function toCOCO(
  segmentations: ImageSegmentation | readonly ImageSegmentation[],
  options: CocoOptions = {},
): CocoDataset {
  checkOptions(options, ['classes', 'segmentation'])
  const { segmentation = 'rle' } = options
  if (segmentation !== 'rle' && segmentation !== 'polygons') {
    throw unexpected('INVALID_ARGUMENT', 'segmentation', segmentation, "'rle' or 'polygons'")
  }
  const all = 'objects' in segmentations ? [segmentations] : segmentations
  for (const each of all) checkImageSegmentation(each)
  const categories = categoriesOf(all, options.classes)
  const idOf = new Map(categories.map(({ id, class_id }) => [class_id, id]))
  const annotations = all.flatMap(({ objects }, image) =>
    objects.map((object) => ({
      image_id: image + 1,
      category_id: categoryOf(object, idOf),
      ...annotationOf(object, segmentation),
    })),
  )
  return {
    info: { description: descriptionOf(all) },
    images: all.map(({ name, image: { width, height } }, i) => ({ id: i + 1, width, height, file_name: name })),
    annotations: annotations.map((annotation, i) => ({ id: i + 1, ...annotation })),
    categories,
  }
}

function categoriesOf(all: readonly ImageSegmentation[], classes: CocoOptions['classes']): CocoCategory[] {
  const found = all.flatMap(({ objects }) => objects.map((object) => object.class))
  const cards = classes ?? [...new Map(found.flatMap((each) => (each ? [[each.id, each]] : []))).values()]
  const categories = cards.map(({ id, name, codes = [] }, i) => ({
    id: i + 1,
    name,
    supercategory: '',
    class_id: id,
    codes,
  }))
  if (!found.includes(null)) return categories
  const unknown = { id: cards.length + 1, name: 'Unknown', supercategory: '', class_id: UNKNOWN_ID, codes: [] }
  return [...categories, unknown]
}

function categoryOf({ name, class: found }: ImageObject, idOf: ReadonlyMap<string, number>): number {
  const id = idOf.get(found?.id ?? UNKNOWN_ID)
  if (id !== undefined) return id
  throw unexpected('INVALID_ARGUMENT', `the class of ${name}`, found?.id, 'one of the classes given')
}

function descriptionOf(all: readonly ImageSegmentation[]): string {
  const models = all.map(({ model: { name, version } }) => `${name} ${version}`)
  return `Segmented with ${[...new Set(models)].join(', ') || 'SEG-SAM'}`
}

function annotationOf({ mask, probability, predictedIou }: ImageObject, segmentation: 'rle' | 'polygons') {
  const [x0, y0, x1, y1] = mask.bbox ?? [0, 0, -1, -1]
  const bbox: CocoAnnotation['bbox'] = [x0, y0, x1 - x0 + 1, y1 - y0 + 1]
  return {
    segmentation: (segmentation === 'polygons' && polygonsOf(mask)) || mask.toRLE(),
    area: mask.area,
    bbox,
    iscrowd: 0 as const,
    ...(probability !== null && { score: probability }),
    ...(predictedIou !== null && { predicted_iou: predictedIou }),
  }
}

/** `null` where they would not say the same as the mask. */
function polygonsOf(mask: Mask): number[][] | null {
  const polygons = mask.toPolygons()
  if (polygons.length === 0 || polygons.some(({ holes }) => holes.length > 0)) return null
  return polygons.map(({ outer }) => corners(outer).flat())
}
