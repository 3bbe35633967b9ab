import { setImmediate as turn } from 'node:timers/promises'
import { runtimeInfo, SegSam } from '../../dist/index.js'

/** Computes with as many cores as the environment gives; prints what `side-by-side.test.ts` reads. */
const model = await SegSam.load(process.argv[2], { device: 'cpu', maxDecodeBatch: 1 })
const image = { data: Uint8Array.from({ length: 512 * 512 }, (_, i) => i % 251), width: 512, height: 512, channels: 1 }
const scene = await model.encode(image)

async function encode() {
  for (const each of await model.encode(Array.from({ length: 24 }, () => image))) each.dispose()
}

/** The most jobs that were seen to run at once. */
async function mostRunning(calls) {
  let most = 0
  let isPending = true
  const ended = Promise.all(calls).finally(() => {
    isPending = false
  })
  while (isPending) {
    most = Math.max(most, model.stats().running)
    await turn()
  }
  await ended
  return most
}

/** Repeats until as many jobs ran at once as there are cores, or for so long: a busy machine may start each after the last. */
async function mostRunningWithin(milliseconds) {
  const end = Date.now() + milliseconds
  let most = 0
  while (most < runtimeInfo().threads && Date.now() < end) {
    most = Math.max(most, await mostRunning([encode(), encode(), encode(), encode()]))
  }
  return most
}

const mostOfMany = await mostRunningWithin(60_000)
const mostOfOne = await mostRunning([encode().then(encode)])

const lists = [model.classes, model.classes.slice(0, 1)]
const calls = [0, 1, 2, 3, 4, 5].map((i) => {
  const prompt = { box: [5 + 30 * i, 4, 250 + 40 * i, 480 - i] }
  return async () => (await scene.segment([prompt], { classes: lists[i % 2] }))[0]
})
const alone = []
for (const call of calls) alone.push(await call())
const differences = []
for (let round = 0; round < 5; round++) {
  for (const [i, hit] of (await Promise.all(calls.map((call) => call()))).entries()) {
    const { predictedIou, candidates, mask } = alone[i]
    differences.push({
      iou: Math.abs(hit.predictedIou - predictedIou),
      ids: hit.candidates.filter(({ id }, at) => id !== candidates[at]?.id),
      pixels: hit.mask.data.filter((value, at) => value !== mask.data[at]).length,
    })
  }
}
process.stdout.write(JSON.stringify({ threads: runtimeInfo().threads, mostOfMany, mostOfOne, differences }))
