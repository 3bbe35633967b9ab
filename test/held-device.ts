import { setImmediate as turn } from 'node:timers/promises'
import type { SegSam } from '../lib/index.js'
import { discImage } from './fixture.js'

const image = discImage(512, 512)

/**
 * Keeps the device busy with an encode of many images, which has started, so that what is called next waits.
 *
 * @returns ends when the device is free again
 */
export async function holdDevice(model: SegSam, images = 240): Promise<{ free: Promise<void> }> {
  let isFree = false
  const free = model.encode(Array.from({ length: images }, () => image)).then((scenes) => {
    for (const scene of scenes) scene.dispose()
    isFree = true
  })
  while (model.stats().running === 0 && !isFree) await turn()
  return { free }
}
