import { setImmediate as turn } from 'node:timers/promises'
import { runtimeInfo, SegSam } from '../../dist/index.js'

/** Exits while as many calls run as may, and more wait. */
const model = await SegSam.load(process.argv[2], { device: 'cpu' })
const image = { data: new Uint8Array(512 * 512).fill(9), width: 512, height: 512, channels: 1 }
for (let i = 0; i < 6; i++) model.encode(Array.from({ length: 24 }, () => image))
while (model.stats().running < runtimeInfo().threads) await turn()
process.exit(3)
