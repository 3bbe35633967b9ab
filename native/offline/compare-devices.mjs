/** Segments one image on the CPU and on CUDA. Prints the device to measure on; the findings go to standard error. */
import { readImage, runtimeInfo, SegSam } from '../../dist/index.js'

const leastDice = 0.99
const { libtorch, cudaDevices, cudaError } = runtimeInfo()
console.error(`libtorch ${libtorch}; CUDA: ${cudaDevices.map(({ name }) => name).join(', ') || cudaError}`)
const device = cudaDevices.length > 0 ? 'cuda' : 'cpu'
const [expected, found] = [await masksOn('cpu'), await masksOn(device)]
expected.forEach((mask, i) => {
  const dice = diceOf(mask, found[i])
  console.error(`mask ${i}: Dice ${dice.toFixed(4)} between cpu and ${device}`)
  if (dice < leastDice) throw new Error(`Masks of ${device} differ from those of the CPU`)
})
console.log(device)

async function masksOn(device) {
  const model = await SegSam.load('models/seg-sam-tiny', { device })
  const scene = await model.encode(await readImage('examples/images/mni152_axial_z8.png'))
  const prompts = [{ box: [83, 87, 105, 117] }, { points: [{ x: 93, y: 65, label: 1 }] }]
  const hits = await scene.segment(prompts, { multimask: false })
  scene.dispose()
  model.dispose()
  return hits.flatMap(({ mask, semanticMask }) => [mask.data, semanticMask.data])
}

function diceOf(a, b) {
  let both = 0
  let sum = 0
  for (let i = 0; i < a.length; i++) {
    both += a[i] & b[i]
    sum += a[i] + b[i]
  }
  return sum === 0 ? 1 : (2 * both) / sum
}
