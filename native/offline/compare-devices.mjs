/** Segments one image on the CPU and on CUDA. Prints the device to measure on; the findings go to standard error. */
import { readImage, runtimeInfo, SegSam } from '../../dist/index.js'

const leastIou = 0.98
const { libtorch, cudaDevices, cudaError } = runtimeInfo()
console.error(`libtorch ${libtorch}; CUDA: ${cudaDevices.map(({ name }) => name).join(', ') || cudaError}`)
const expected = await masksOn('cpu')
const device = cudaDevices.length > 0 ? 'cuda' : 'cpu'
const found = device === 'cpu' ? [] : await masksOn(device)
for (const [i, mask] of found.entries()) {
  const iou = mask.iou(expected[i])
  console.error(`mask ${i}: IoU ${iou.toFixed(4)} between cpu and ${device}`)
  if (iou < leastIou) throw new Error(`Masks of ${device} differ from those of the CPU`)
}
console.log(device)

async function masksOn(device) {
  const model = await SegSam.load('models/seg-sam-tiny', { device })
  const scene = await model.encode(await readImage('examples/images/mni152_axial_z8.png'))
  const prompts = [{ box: [83, 87, 105, 117] }, { points: [{ x: 93, y: 65, label: 1 }] }]
  const hits = await scene.segment(prompts, { multimask: false })
  scene.dispose()
  model.dispose()
  return hits.flatMap(({ mask, semanticMask }) => [mask, semanticMask])
}
