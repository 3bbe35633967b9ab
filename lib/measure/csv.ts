import { csvOfRows } from '../csv.js'
import type { SegmentMeasurement } from './measure.js'
import type { ObjectMeasurement } from './measure-objects.js'

type Cell = string | number | null | undefined

/**
 * Measurements as CSV (RFC 4180), one line for each segment or object, numbers in full, an empty cell where there is no
 * value. The head names the units. Nothing at all where there is nothing.
 */
export function toCSV(measurements: readonly SegmentMeasurement[] | readonly ObjectMeasurement[]): string {
  const rows = measurements.map((measurement, i) => ({ number: i + 1, ...cellsOf(measurement) }))
  return rows.length === 0 ? '' : csvOfRows([Object.keys(rows[0]!), ...rows.map((row) => Object.values(row))])
}

function cellsOf(measurement: SegmentMeasurement | ObjectMeasurement): Record<string, Cell> {
  return {
    name: measurement.name,
    class: measurement.class?.id,
    probability: measurement.probability,
    predicted_iou: measurement.predictedIou,
    ...('voxels' in measurement ? segmentCells(measurement) : objectCells(measurement)),
  }
}

function segmentCells({ voxels, volume, area, axes, intensity, centroid, cautions }: SegmentMeasurement) {
  return {
    voxels,
    volume_ml: volume,
    area_mm2: area,
    long_axis_mm: axes.long,
    short_axis_mm: axes.short,
    axes_along: axes.axis,
    axes_slice: axes.slice,
    ...intensityCells(intensity),
    centroid_i: centroid.voxel[0],
    centroid_j: centroid.voxel[1],
    centroid_k: centroid.voxel[2],
    centroid_x_mm: centroid.patient[0],
    centroid_y_mm: centroid.patient[1],
    centroid_z_mm: centroid.patient[2],
    cautions: cautions.join(' '),
  }
}

function objectCells({ area, axes, intensity, centroid, physical }: ObjectMeasurement) {
  return {
    area_pixels: area,
    area_mm2: physical?.area,
    long_axis_pixels: axes?.long,
    short_axis_pixels: axes?.short,
    long_axis_mm: physical?.axes?.long,
    short_axis_mm: physical?.axes?.short,
    ...intensityCells(intensity),
    centroid_x: centroid?.[0],
    centroid_y: centroid?.[1],
  }
}

function intensityCells(intensity: SegmentMeasurement['intensity']) {
  return {
    intensity_mean: intensity?.mean,
    intensity_sd: intensity?.sd,
    intensity_min: intensity?.min,
    intensity_max: intensity?.max,
    intensity_unit: intensity?.unit,
  }
}
