/**
 * Makes `examples/images/` from the MNI152 template in the npm package `@niivue/niivue`:
 *
 *     npm pack @niivue/niivue@0.12.4 && tar xzf niivue-niivue-0.12.4.tgz package/src/mni152.nii.gz
 *     node examples/make-images.mjs package/src/mni152.nii.gz
 *
 * Slices are radiological: axial with the patient's left to the right and the back at the bottom, coronal with left to
 * the right and the head at the top, sagittal with the front to the left and the head at the top. Pixels are 1 mm.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decompress, readHeader, readImage } from 'nifti-reader-js'
import sharp from 'sharp'

/** Plane and its position in MNI millimetres (x to the right, y to the front, z to the head). */
const SLICES = [
  { plane: 'axial', at: 8 },
  { plane: 'coronal', at: -18 },
  { plane: 'coronal', at: 8 },
  { plane: 'sagittal', at: 4 },
  { plane: 'sagittal', at: -26 },
]

/** For each plane: world axis of the columns and of the rows, and its direction; the third axis is the one cut. */
const PLANES = {
  axial: { column: [0, -1], row: [1, -1], cut: 2 },
  coronal: { column: [0, -1], row: [2, -1], cut: 1 },
  sagittal: { column: [1, -1], row: [2, -1], cut: 0 },
}
const MARGIN = 8
const FIELD = 240

const volume = readVolume(process.argv[2])
const [low, high] = percentilesOfNonZero(volume.voxels, 0.005, 0.995)
const folder = join(dirname(fileURLToPath(import.meta.url)), 'images')

for (const { plane, at } of SLICES) {
  const slice = crop(resample(plane, at))
  const name = `mni152_${plane}_${'xyz'[PLANES[plane].cut]}${at}.png`
  await sharp(slice.pixels, { raw: { width: slice.width, height: slice.height, channels: 1 } })
    .toColourspace('b-w')
    .png({ compressionLevel: 9 })
    .toFile(join(folder, name))
  console.log(`${name} ${slice.width} x ${slice.height}`)
}

function readVolume(path) {
  const file = readFileSync(path)
  const nifti = decompress(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength))
  const header = readHeader(nifti)
  if (header.datatypeCode !== 2) throw new Error(`expected 8-bit voxels, got NIfTI datatype ${header.datatypeCode}`)
  const rotated = header.affine
    .slice(0, 3)
    .some((row, i) => row.slice(0, 3).some((v, j) => (i === j ? v <= 0 : v !== 0)))
  if (rotated) throw new Error('expected voxel axes along right, front and head')
  return {
    voxels: new Uint8Array(readImage(header, nifti)),
    size: header.dims.slice(1, 4),
    spacing: [0, 1, 2].map((axis) => header.affine[axis][axis]),
    origin: [0, 1, 2].map((axis) => header.affine[axis][3]),
  }
}

function percentilesOfNonZero(voxels, ...fractions) {
  const sorted = voxels.filter((v) => v > 0).sort()
  return fractions.map((fraction) => sorted[Math.round(fraction * (sorted.length - 1))])
}

/** FIELD x FIELD millimetres around the origin of the template, trilinear, windowed; 0 stays 0. */
function resample(plane, at) {
  const { column, row, cut } = PLANES[plane]
  const pixels = new Uint8Array(FIELD * FIELD)
  const world = [0, 0, 0]
  world[cut] = at
  for (let r = 0; r < FIELD; r++) {
    for (let c = 0; c < FIELD; c++) {
      world[column[0]] = column[1] * (c - FIELD / 2)
      world[row[0]] = row[1] * (r - FIELD / 2)
      const value = trilinear(world)
      pixels[r * FIELD + c] = value === 0 ? 0 : Math.min(255, Math.max(0, (255 * (value - low)) / (high - low)))
    }
  }
  return pixels
}

function trilinear(world) {
  const { voxels, size, spacing, origin } = volume
  const position = world.map((v, axis) => (v - origin[axis]) / spacing[axis])
  const floor = position.map(Math.floor)
  let sum = 0
  for (let corner = 0; corner < 8; corner++) {
    const step = [corner & 1, (corner >> 1) & 1, corner >> 2]
    const [x, y, z] = floor.map((v, axis) => v + step[axis])
    if (x < 0 || y < 0 || z < 0 || x >= size[0] || y >= size[1] || z >= size[2]) continue
    const weight = position.reduce((w, v, axis) => w * (step[axis] ? v - floor[axis] : 1 - (v - floor[axis])), 1)
    sum += weight * voxels[x + size[0] * (y + size[1] * z)]
  }
  return sum
}

function crop(pixels) {
  let [left, top, right, bottom] = [FIELD, FIELD, 0, 0]
  for (let i = 0; i < pixels.length; i++) {
    if (pixels[i] === 0) continue
    const [x, y] = [i % FIELD, Math.floor(i / FIELD)]
    left = Math.min(left, x)
    right = Math.max(right, x)
    top = Math.min(top, y)
    bottom = Math.max(bottom, y)
  }
  left -= MARGIN
  top -= MARGIN
  const width = right - left + MARGIN + 1
  const height = bottom - top + MARGIN + 1
  const cropped = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    cropped.set(pixels.subarray((top + y) * FIELD + left, (top + y) * FIELD + left + width), y * width)
  }
  return { pixels: cropped, width, height }
}
