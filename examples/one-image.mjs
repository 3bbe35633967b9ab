/** Segments one object, prints its name and outline, and writes the picture: node examples/one-image.mjs */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { drawOverlay, readImage, SegSam } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const model = await SegSam.load(here('../models/seg-sam-tiny'))
const image = await readImage(here('images/mni152_axial_z8.png'))
const scene = await model.encode(image)

const prompts = [{ box: [83, 87, 105, 117] }]
const [hit] = await scene.segment(prompts, { multimask: false })

console.log(hit.label ? `${hit.label.name}, probability ${hit.label.probability.toFixed(2)}` : 'no known class')
console.log(`${hit.mask.area} pixels, outlined by ${hit.mask.toPolygons().length} polygon(s)`)

await writeFile('one-image.png', await drawOverlay(image, [hit], { prompts }))
scene.dispose()
model.dispose()
