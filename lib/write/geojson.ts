import type { ClassCode } from '../classes.js'
import { rgbOf } from '../colour.js'
import { checkImageSegmentation, type ImageObject, type ImageSegmentation } from '../image-segmentation.js'
import type { Polygon, Ring } from '../mask.js'
import { corners } from './corners.js'
import { simplePolygon } from './simple-rings.js'

export interface GeoJson {
  type: 'FeatureCollection'
  features: GeoJsonFeature[]
}

export interface GeoJsonFeature {
  type: 'Feature'
  id: number
  /** Rings are closed; the first is the outline and runs clockwise on the screen, the others are holes. */
  geometry:
    | { type: 'Polygon'; coordinates: Ring[] }
    | { type: 'MultiPolygon'; coordinates: Ring[][] }
    /** For an object without pixels. */
    | null
  properties: {
    name: string
    class: { id: string; name: string; codes: readonly ClassCode[] } | null
    probability: number | null
    predictedIou: number | null
    /** Pixels. */
    area: number
    /** `#RRGGBB` */
    colour: string
    /** What QuPath reads: name and colour of the class. */
    objectType: 'annotation'
    classification: { name: string; color: [number, number, number] }
  }
}

/**
 * The outlines of the objects as GeoJSON (RFC 7946), one feature each, with holes. Coordinates are pixels of the image, x
 * right, y down, with (0, 0) at the corner of the image, as QuPath and other viewers have them: 0.5 more than elsewhere in
 * this package. They are no longitudes, of which RFC 7946 alone speaks.
 *
 * @throws SegSamError `INVALID_ARGUMENT`, `INVALID_IMAGE`
 */
export function toGeoJSON(segmentation: ImageSegmentation): GeoJson {
  checkImageSegmentation(segmentation)
  return { type: 'FeatureCollection', features: segmentation.objects.map(featureOf) }
}

function featureOf({ mask, ...object }: ImageObject, index: number): GeoJsonFeature {
  const { name, class: found, probability, predictedIou, colour } = object
  return {
    type: 'Feature',
    id: index + 1,
    geometry: geometryOf(mask.toPolygons()),
    properties: {
      name,
      class: found,
      probability,
      predictedIou,
      area: mask.area,
      colour,
      objectType: 'annotation',
      classification: { name: found?.name ?? name, color: rgbOf(colour) },
    },
  }
}

function geometryOf(polygons: readonly Polygon[]): GeoJsonFeature['geometry'] {
  const rings = polygons.map(simplePolygon).map(({ outer, holes }) => [outer, ...holes].map(closed))
  if (rings.length === 0) return null
  if (rings.length === 1) return { type: 'Polygon', coordinates: rings[0]! }
  return { type: 'MultiPolygon', coordinates: rings }
}

function closed(ring: Ring): Ring {
  const points = corners(ring)
  return [...points, points[0]!]
}
