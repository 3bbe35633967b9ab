/** Outlines one object step by step, and does it again from the log: node examples/annotate.mjs */
import { fileURLToPath } from 'node:url'
import { readImage, SegSam, Session } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const model = await SegSam.load(here('../models/seg-sam-tiny'))
const scene = await model.encode(await readImage(here('images/mni152_axial_z8.png')))

const session = scene.session()
function report(step) {
  const { hit } = session
  console.log(`${step.padEnd(22)} ${String(hit?.mask.area ?? 0).padStart(5)} pixels  ${hit?.label?.name ?? '-'}`)
}

await session.addPoint({ x: 94, y: 102 })
report('a click inside')
await session.setBox([83, 87, 105, 117])
report('a box')
await session.addScribble({
  path: [
    [82, 84],
    [107, 84],
  ],
  label: 0,
})
report('a line outside')
await session.undo()
report('undone')
await session.setLasso([
  [90, 88],
  [104, 95],
  [103, 114],
  [92, 114],
  [85, 102],
])
report('a lasso')

const log = JSON.stringify(session)
const again = await Session.replay(scene, JSON.parse(log))
console.log(`Replayed from ${log.length} characters: IoU ${again.hit.mask.iou(session.hit.mask)}`)
scene.dispose()
model.dispose()
