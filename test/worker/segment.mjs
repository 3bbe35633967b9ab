import { parentPort, workerData } from 'node:worker_threads'
import { readImage, SegSam, SegSamError } from '../../dist/index.js'

const model = await SegSam.load(workerData.bundle, { device: 'cpu', precision: 'fp32' })
const image = await readImage(workerData.image)
if (workerData.endless) {
  for (;;) {
    const pending = model.encode(image)
    parentPort.postMessage('encoding')
    await pending
  }
}
const scene = await model.encode(image)
const [hit] = await scene.segment([workerData.prompt])
const refused = await scene.segment([]).catch((error) => error instanceof SegSamError && error.code)
parentPort.postMessage({ mask: hit.mask.data, predictedIou: hit.predictedIou, refused })
