/** Names an object among a few classes only, one of them described on the spot: node examples/choose-classes.mjs */
import { fileURLToPath } from 'node:url'
import { readImage, SegSam } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const model = await SegSam.load(here('../models/seg-sam-tiny'))
const scene = await model.encode(await readImage(here('images/mni152_coronal_y-18.png')))

/* How well a class is recognised that the model was not trained on is unproven: measure it before you rely on it. */
const cyst = {
  id: 'cyst',
  name: 'Cyst',
  description: 'A round cavity filled with fluid. It is dark on T1-weighted MR. It displaces the tissue around it.',
}
const [hit] = await scene.segment([{ box: [63, 61, 79, 72] }], {
  multimask: false,
  classes: ['lateral_ventricle', 'third_ventricle', cyst],
})

const ranked = hit.label ? [hit.label, ...hit.candidates] : hit.candidates
for (const { name, probability } of ranked) console.log(`${name.padEnd(20)} ${probability.toFixed(3)}`)
scene.dispose()
model.dispose()
