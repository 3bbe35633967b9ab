/**
 * How much a class hangs on the words of its card: replaces the cards of four structures, one at a time, by a text that
 * says the same in other words and by one about something else, and counts the prompts of examples/images that still get
 * the name: node examples/reword-class.mjs
 *
 * With the name of a file, such as docs/classes.md, the table there is written anew.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { readImage, SegSam } from 'seg-sam'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

/* Written without a look at how the model takes them. */
const reworded = [
  {
    id: 'thalamus',
    name: 'Thalamic nuclei',
    description:
      'Two oval lumps of grey matter deep in the middle of the brain, one on each side of the narrow third ventricle. ' +
      'They are a little brighter than the cortex on T1 images. The internal capsule runs along their outer side. ' +
      'The rear end is thick and round.',
  },
  {
    id: 'putamen',
    name: 'Outer lentiform nucleus',
    description:
      'A grey body on each side of the brain, long from front to back and shaped like a lens. ' +
      'It is the biggest of the basal ganglia and the one farthest from the midline. The pallidum lies on its inner side ' +
      'and is brighter. The insula lies outside, beyond a thin layer of white matter.',
  },
  {
    id: 'hippocampus',
    name: 'Ammon’s horn formation',
    description:
      'A curved, narrow grey structure in the inner part of the temporal lobe. It bulges into the floor of the temporal ' +
      'horn. The amygdala lies in front of it. On coronal images it looks like a rolled-up scroll.',
  },
  {
    id: 'caudate_nucleus',
    name: 'Caudate',
    description:
      'A grey nucleus shaped like a comma, with a thick head in front and a thin tail. ' +
      'It forms the outer wall of the lateral ventricle, next to the dark fluid. The internal capsule parts it from the ' +
      'putamen.',
  },
]
const unrelated = {
  name: 'Lighthouse',
  description: 'A tall white tower on a rocky coast. Its lamp turns at night. Ships see it from far away.',
}

const model = await SegSam.load(here('../models/seg-sam-tiny'), { device: 'cpu', precision: 'fp32' })
const scenes = []
for (const [file, prompts] of Object.entries(JSON.parse(await readFile(here('images/prompts.json'), 'utf8')))) {
  scenes.push({ scene: await model.encode(await readImage(here(`images/${file}`))), prompts })
}

/** What each prompt is on, and the id of the class that it gets. */
async function named() {
  const names = []
  for (const { scene, prompts } of scenes) {
    const boxes = prompts.map(({ box }) => ({ box }))
    const hits = await scene.segment(boxes, { multimask: false })
    for (const [i, { label }] of hits.entries()) names.push({ structure: prompts[i].structure, id: label?.id })
  }
  return names
}

function counted(names, id) {
  const onIt = names.filter(({ structure }) => structure === id)
  const others = names.filter(({ structure }) => structure !== id)
  const getIt = (list) => list.filter((name) => name.id === id).length
  return `${getIt(onIt)} of ${onIt.length} (${getIt(others)})`
}

const before = await named()
const lines = [
  `${model.info.name} ${model.info.version}, on the CPU in fp32, out of ${model.classes.length} classes:`,
  '',
  '| class | its own card | its sentences, a new name | its name alone | the same in other words | a text about a lighthouse |',
  '| --- | ---: | ---: | ---: | ---: | ---: |',
]
for (const card of reworded) {
  const original = model.classes.find(({ id }) => id === card.id)
  const counts = [counted(before, card.id)]
  for (const replacement of [
    { ...original, name: card.name },
    { id: card.id, name: original.name, sentences: [] },
    card,
    { ...unrelated, id: card.id },
  ]) {
    await model.defineClass(replacement, { replace: true })
    counts.push(counted(await named(), card.id))
  }
  await model.defineClass(original, { replace: true })
  lines.push(`| ${card.id} | ${counts.join(' | ')} |`)
}
model.dispose()

const table = lines.join('\n')
console.log(table)
const [file] = process.argv.slice(2)
if (file) {
  const [begin, end] = ['<!-- reworded: written by examples/reword-class.mjs -->', '<!-- end of reworded -->']
  const [head, tail] = (await readFile(file, 'utf8')).split(new RegExp(`${begin}[^]*${end}`))
  if (tail === undefined)
    throw new Error(`${file} lacks the lines "${begin}" and "${end}", between which the table goes.`)
  await writeFile(file, `${head}${begin}\n\n${table}\n\n${end}${tail}`)
}
