/** Segments every structure of prompts.json in every slice, and prints what each was taken for: node examples/many-images.mjs */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { readImage, SegSam } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const slices = Object.entries(JSON.parse(await readFile(here('images/prompts.json'), 'utf8')))
const model = await SegSam.load(here('../models/seg-sam-tiny'))
const images = await Promise.all(slices.map(([file]) => readImage(here(`images/${file}`))))
const scenes = await model.encode(images)

for (const [i, [file, structures]] of slices.entries()) {
  const prompts = structures.map(({ box }) => ({ box }))
  const hits = await scenes[i].segment(prompts, { multimask: false })
  console.log(file)
  for (const [j, { label, predictedIou, mask }] of hits.entries()) {
    const found = label ? `${label.id} ${label.probability.toFixed(2)}` : 'no known class'
    console.log(`  ${structures[j].structure}: ${found}, predicted IoU ${predictedIou.toFixed(2)}, ${mask.area} pixels`)
  }
  scenes[i].dispose()
}
model.dispose()
