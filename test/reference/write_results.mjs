// Writes what the built package makes of the volumes and masks of test_results.py, for that to read back.
//
//     node test/reference/write_results.mjs FOLDER

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import * as seg from '../../dist/index.js'

const folder = process.argv[2]
const { volumes, images } = JSON.parse(await readFile(join(folder, 'cases.json'), 'utf8'))
const model = { name: 'micro', version: '1.2.3', hash: '00' }
const named = (i) => ({
  name: `Segment ${i + 1}`,
  class: i === 0 ? null : { id: `class_${i}`, name: `Class ${i}`, codes: [] },
  probability: i === 0 ? null : 0.75,
  predictedIou: 0.5,
  colour: ['#FF0000', '#00FF80', '#0000FF'][i % 3],
})
const write = (name, content) =>
  writeFile(join(folder, name), content instanceof Buffer || typeof content === 'string' ? content : JSON.stringify(content))
const bytes = (name) => readFile(join(folder, name)).then((content) => new Uint8Array(content))

for (const { name, masks, axis } of volumes) {
  const volume = await seg.readVolume(join(folder, `${name}.nii`))
  const segments = []
  for (let i = 0; i < masks; i++) {
    segments.push({ ...named(i), mask: seg.VoxelMask.of(volume.shape, await bytes(`${name}-${i}.u8`)) })
  }
  const segmentation = { volume, segments, model }
  await write(`${name}-out.nii.gz`, await seg.toNIfTI(segmentation, { overlaps: 'layers' }))
  await write(`${name}-out.nii`, await seg.toNIfTI(segmentation, { overlaps: 'layers', gzip: false }))
  await write(`${name}-out.json`, seg.labelTable(segmentation))
  await write(`${name}-out.seg.nrrd`, await seg.toSegNRRD(segmentation))
  const measurements = seg.measure(segmentation, axis ? { axis } : {})
  await write(`${name}-measured.json`, measurements)
  await write(`${name}-measured.csv`, seg.toCSV(measurements))
}

for (const { name, width, height, masks, spacing } of images) {
  const image = { data: await bytes(`${name}.u8`), width, height, channels: 1, ...(spacing && { spacing }) }
  const objects = []
  for (let i = 0; i < masks; i++) {
    objects.push({ ...named(i), mask: new seg.Mask(width, height, await bytes(`${name}-${i}.u8`)) })
  }
  const segmentation = { image, name: `${name}.png`, objects, model }
  for (const kind of ['rle', 'polygons']) {
    await write(`${name}-${kind}.json`, seg.toCOCO(segmentation, { segmentation: kind }))
  }
  await write(`${name}.geojson`, seg.toGeoJSON(segmentation))
  const svg = seg.toSVG(segmentation)
  await write(`${name}.svg`, svg)
  // Each outline alone, filled, without soft edges.
  for (const [i, [, path]] of [...svg.matchAll(/<path d="([^"]+)"/g)].entries()) {
    const filled = `<path d="${path}" fill="white" fill-rule="evenodd" shape-rendering="crispEdges"/>`
    const alone = svg.replace(/<g[\s\S]*<\/g>/, filled)
    await write(`${name}-${i}-svg.u8`, await sharp(Buffer.from(alone)).extractChannel(3).raw().toBuffer())
  }
  const measurements = seg.measureObjects(segmentation)
  await write(`${name}-measured.json`, measurements)
  await write(`${name}-measured.csv`, seg.toCSV(measurements))
}
