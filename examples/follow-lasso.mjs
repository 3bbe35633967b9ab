/**
 * How closely the model follows a lasso: of the boxes in examples/images the triangle at the top left is drawn as a lasso,
 * and the masks are compared with it: node examples/follow-lasso.mjs
 *
 * With the name of a file, such as docs/annotation.md, the sentence there is written anew.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Mask, readImage, SegSam } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const model = await SegSam.load(here('../models/seg-sam-tiny'), { device: 'cpu', precision: 'fp32' })
const withLasso = []
const withBox = []
for (const [file, prompts] of Object.entries(JSON.parse(await readFile(here('images/prompts.json'), 'utf8')))) {
  const scene = await model.encode(await readImage(here(`images/${file}`)))
  for (const { box } of prompts) {
    const [x0, y0, x1, y1] = box
    const corners = [
      [x0, y0],
      [x1, y0],
      [x0, y1],
    ]
    const hit = await scene.session().setLasso(corners)
    const [boxed] = await scene.segment([{ box }], { multimask: false })
    const triangle = triangleMask(scene, box)
    withLasso.push(hit.mask.iou(triangle))
    withBox.push(boxed.mask.iou(triangle))
  }
  scene.dispose()
}
const { name, version } = model.info
model.dispose()

const mean = (values) => (values.reduce((a, b) => a + b, 0) / values.length).toFixed(2)
const sentence = `With ${name} ${version}, a lasso along the diagonal of the ${withBox.length} boxes of \`examples/images/prompts.json\` (the
triangle at the top left) gave masks with a mean IoU of ${mean(withLasso)} with that triangle, the box
alone ${mean(withBox)}.`
console.log(sentence)
const [file] = process.argv.slice(2)
if (file) {
  const [begin, end] = ['<!-- lasso: written by examples/follow-lasso.mjs -->', '<!-- end of lasso -->']
  const [head, tail] = (await readFile(file, 'utf8')).split(new RegExp(`${begin}[^]*${end}`))
  if (tail === undefined) throw new Error(`${file} lacks the lines "${begin}" and "${end}", between which it goes.`)
  await writeFile(file, `${head}${begin}\n\n${sentence}\n\n${end}${tail}`)
}

/** Pixels whose centres lie in the half of the box at the top left. */
function triangleMask({ width, height }, [x0, y0, x1, y1]) {
  const mask = new Mask(width, height, new Uint8Array(width * height))
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      if ((x - x0) / (x1 - x0) + (y - y0) / (y1 - y0) <= 1) mask.data[y * width + x] = 1
    }
  }
  return mask
}
