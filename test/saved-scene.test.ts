import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import { type Scene, SegSam } from '../lib/index.js'
import { bundle, copiedBundle, discImage, editJson } from './fixture.js'

const prompts = [{ box: [30, 20, 90, 70] }, { points: [{ x: 40, y: 40 }] }] as const
let folder: string
let model: SegSam
let scene: Scene
let saved: Uint8Array

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-scenes-'))
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(discImage(120, 90))
  saved = await scene.save()
})
afterAll(async () => {
  model.dispose()
  await rm(folder, { recursive: true })
})

async function expectSame(restored: Scene) {
  expect([restored.width, restored.height, restored.bytes]).toEqual([scene.width, scene.height, scene.bytes])
  expect(await restored.segment(prompts)).toEqual(await scene.segment(prompts))
  restored.dispose()
}

describe('a scene comes back with the same masks, logits and names', () => {
  it('from bytes, wherever they lie in their buffer', async () => {
    await expectSame(await model.restore(saved))
    const shifted = new Uint8Array(saved.length + 3)
    shifted.set(saved, 3)
    await expectSame(await model.restore(shifted.subarray(3)))
  })

  it('from a file, named by a path or a URL', async () => {
    const path = join(folder, 'a scene.segscene')
    await scene.save(path)
    await expectSame(await model.restore(path))
    await scene.save(pathToFileURL(path))
    await expectSame(await model.restore(pathToFileURL(path)))
    expect(await readdir(folder)).toEqual(['a scene.segscene'])
    expect(new Uint8Array(await readFile(path))).toEqual(saved)
  })

  it('in another model of the same bundle, and is saved again as it was', async () => {
    const other = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const restored = await other.restore(saved)
    expect(await restored.save()).toEqual(saved)
    await expectSame(restored)
    other.dispose()
  })
})

describe('refused', () => {
  const invalid = (message: RegExp) => ({ code: 'SCENE_INVALID', message: expect.stringMatching(message) })

  it.each([0, 5, 20, 60, 300, -1, -40])('a file cut off at %i', async (length) => {
    await expect(model.restore(saved.slice(0, length))).rejects.toMatchObject(invalid(/truncated|not a scene/))
  })

  it('a file with one bit changed, anywhere', async () => {
    for (const at of [0, 9, 13, 30, 250, saved.length >> 1, saved.length - 1]) {
      const damaged = saved.slice()
      damaged[at]! ^= 4
      await expect(model.restore(damaged)).rejects.toMatchObject({ code: 'SCENE_INVALID' })
    }
  })

  it('another version of the format, by its number', async () => {
    const newer = saved.slice()
    newer[8] = 2
    await expect(model.restore(newer)).rejects.toMatchObject(invalid(/version 2.*reads 1/))
  })

  it('features of another size than the header tells, though the checksum is right', async () => {
    await expect(model.restore(forged((header) => header.shapes.push([1, 2])))).rejects.toMatchObject(
      invalid(/header tells/),
    )
    await expect(model.restore(forged((header) => header.shapes.push([1, -2])))).rejects.toMatchObject(
      invalid(/another form/),
    )
  })

  it('a scene of another bundle, and of another precision', async () => {
    const other = await copiedBundle()
    await editJson(join(other, 'manifest.json'), (manifest) => {
      manifest.pixel_mean[0] += 1
    })
    const changed = await SegSam.load(other, { device: 'cpu', precision: 'fp32' })
    const mismatch = (message: RegExp) => ({ code: 'SCENE_MISMATCH', message: expect.stringMatching(message) })
    await expect(changed.restore(saved)).rejects.toMatchObject(mismatch(/bundle.*encode the image again/))
    changed.dispose()
    const precise = await SegSam.load(bundle, { device: 'cpu', precision: 'bf16' })
    await expect(precise.restore(saved)).rejects.toMatchObject(mismatch(/fp32.*bf16/))
    precise.dispose()
  })

  it('what is no saved scene, no file, or no place to write to', async () => {
    await writeFile(join(folder, 'other'), 'something else')
    await expect(model.restore(join(folder, 'other'))).rejects.toMatchObject(invalid(/other is not a scene/))
    await expect(model.restore(join(folder, 'none'))).rejects.toMatchObject({ code: 'READ_FAILED' })
    await expect(scene.save(join(folder, 'none', 'x'))).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    for (const wrong of [5, null, {}]) {
      await expect(model.restore(wrong as unknown as string)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(scene.save(wrong as unknown as string)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    const file = join(folder, 'a file')
    await writeFile(file, 'x')
    for (const path of [join(file, 'in a file'), 'a\0b']) {
      await expect(scene.save(path)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    }
    await expect(scene.save(new URL('http://x/y'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('leaves nothing behind', async () => {
    const { scenes, queued } = addon().counters()
    expect({ scenes, queued }).toEqual({ scenes: 1, queued: 0 })
  })

  it('a disposed scene or model', async () => {
    const other = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const gone = await other.restore(saved)
    gone.dispose()
    await expect(gone.save()).rejects.toMatchObject({ code: 'DISPOSED' })
    other.dispose()
    await expect(other.restore(saved)).rejects.toMatchObject({ code: 'DISPOSED' })
  })
})

/** The saved scene with another header and a checksum to match. */
// biome-ignore lint/suspicious/noExplicitAny: the header may become anything
function forged(edit: (header: any) => void): Uint8Array {
  const file = Buffer.from(saved)
  const start = 16 + file.readUInt32LE(12)
  const content = JSON.parse(file.toString('utf8', 16, start))
  edit(content)
  const header = Buffer.from(JSON.stringify(content))
  const prefix = Buffer.from(file.subarray(0, 16))
  prefix.writeUInt32LE(header.length, 12)
  const body = Buffer.concat([prefix, header, file.subarray(start, -32)])
  return Buffer.concat([body, createHash('sha256').update(body).digest()])
}
