import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { openDataset } from '../lib/eval/dataset.js'
import type { LabelledImage } from '../lib/eval/labelled-image.js'
import { classOfMask } from '../lib/eval/sam-med2d.js'
import { type Block, ownFolder, SIZE, writeGray, writeSlices } from './labelled-images.js'

describe('a folder with dataset.json', () => {
  test('gives the largest piece of each class of 30 pixels or more', async () => {
    const blocks: Block[] = [
      [1, 2, 2, 12, 12], // 100 pixels
      [1, 20, 2, 24, 12], // 40, a lesser piece
      [2, 30, 2, 35, 7], // 25: present, too small to prompt
      [3, 40, 30, 43, 33], // 9: a speck, neither present nor absent
    ]
    const [image] = (await openDataset(await writeSlices(await ownFolder(), { a_0: blocks }), 'test')).images
    const { objects, present, absent } = await image!.read()
    expect(objects.map((object) => [object.class, object.mask().area, object.mask().bbox])).toEqual([
      ['disc_left', 100, [2, 2, 11, 11]],
    ])
    expect(present).toEqual(['disc_left', 'disc_right'])
    expect(absent).toEqual([])
  })

  test('pieces that touch at a corner are one', async () => {
    const diagonal: Block[] = [
      [1, 2, 2, 6, 6],
      [1, 6, 6, 10, 10],
    ]
    const [image] = (await openDataset(await writeSlices(await ownFolder(), { a_0: diagonal }), 'test')).images
    expect((await image!.read()).objects[0]!.mask().area).toBe(32)
  })

  test('gives every instance of a set of instances, labels above 255 too', async () => {
    const blocks: Block[] = [
      [1, 0, 0, 6, 6],
      [300, 10, 10, 20, 20],
      [7, 30, 30, 35, 35], // 25 pixels
    ]
    const folder = await writeSlices(await ownFolder(), { a_0: blocks }, { labels: 'instances' })
    const { objects, present } = await (await openDataset(folder, 'test')).images[0]!.read()
    expect(objects.map((object) => [object.number, object.class, object.mask().area])).toEqual([
      [1, 'disc_left', 36],
      [300, 'disc_left', 100],
    ])
    expect(present).toEqual(['disc_left'])
  })

  test('splits by subject, and finds modality and spacing by series', async () => {
    const block: Block[] = [[1, 2, 2, 12, 12]]
    const folder = await writeSlices(
      await ownFolder(),
      { 's1-ct_003': block, 's2-mr_t1_004': block, 's2-pet_001': block },
      {
        modality: 'ct, mr_t1, pet (given in the series name)',
        spacing_mm: { 's1-ct': [0.5, 0.7], 's2-pet': [4, 4] },
        split: { train: ['s1'], test: ['s2'] },
      },
    )
    const facts = async (split: 'train' | 'test' | 'all') =>
      (await openDataset(folder, split)).images.map(({ name, subject, modality, spacing }) => [
        name,
        subject,
        modality,
        spacing,
      ])
    expect(await facts('train')).toEqual([['s1-ct_003', 's1', 'ct', [0.5, 0.7]]])
    expect(await facts('test')).toEqual([
      ['s2-mr_t1_004', 's2', 'mr_t1', null],
      ['s2-pet_001', 's2', 'pet', [4, 4]],
    ])
    expect(await facts('all')).toHaveLength(3)
  })

  test('a class that a subject lacks the labels of is not absent', async () => {
    const block: Block[] = [[1, 2, 2, 12, 12]]
    const folder = await writeSlices(await ownFolder(), { a_0: block, b_0: block }, { unlabelled: { b: ['ring'] } })
    const [a, b] = (await openDataset(folder, 'test')).images
    expect((await a!.read()).absent).toEqual(['disc_right', 'ring'])
    expect((await b!.read()).absent).toEqual(['disc_right'])
  })

  test.each<[string, (folder: string) => Promise<unknown>, RegExp]>([
    ['a missing label map', (folder) => rm(join(folder, 'labels/a_0.png')), /labels\/a_0\.png/],
    ['a damaged label map', (folder) => writeFile(join(folder, 'labels/a_0.png'), 'x'), /labels\/a_0\.png/],
    [
      'a value outside the class table',
      (folder) => writeGray(join(folder, 'labels/a_0.png'), [[9, 0, 0, 9, 9]]),
      /a_0\.png has label value 9.*1, 2, 3.*Add the class/,
    ],
    [
      'another size',
      (folder) => writeGray(join(folder, 'labels/a_0.png'), [[1, 0, 0, 9, 9]], { width: 30, height: 40 }),
      /30 x 40 pixels, its image 48 x 40.*Export/,
    ],
    [
      'colours',
      (folder) =>
        sharp({ create: { ...SIZE, channels: 3, background: '#010000' } })
          .png()
          .toFile(join(folder, 'labels/a_0.png')),
      /3 channels.*one gray channel/,
    ],
    [
      'a palette',
      (folder) =>
        sharp({ create: { ...SIZE, channels: 3, background: '#010101' } })
          .png({ palette: true })
          .toFile(join(folder, 'labels/a_0.png')),
      /palette.*one gray channel/,
    ],
  ])('%s is an error that names the file and the remedy', async (_, damage, message) => {
    const folder = await writeSlices(await ownFolder(), { a_0: [[1, 2, 2, 12, 12]] })
    await damage(folder)
    const reading = (await openDataset(folder, 'test')).images[0]!.read()
    await expect(reading).rejects.toMatchObject({ name: 'SegSamError', message: expect.stringMatching(message) })
  })

  test.each([
    ['no JSON', '{', /dataset\.json.*not JSON/],
    ['no classes', '{"modality": "ct"}', /dataset\.json.*classes/s],
  ])('a description with %s is an error', async (_, content, message) => {
    const folder = await ownFolder()
    await writeFile(join(folder, 'dataset.json'), content)
    await expect(openDataset(folder, 'test')).rejects.toMatchObject({
      code: 'DATASET_INVALID',
      message: expect.stringMatching(message),
    })
  })
})

describe("SAM-Med2D's layout", () => {
  test('gives each mask as one object, of the class in its name', async () => {
    const folder = await ownFolder()
    await writeGray(join(folder, 'images/case_7.png'), [[90, 5, 5, 25, 25]])
    await writeGray(join(folder, 'masks/case_7_disc_left_000.png'), [[255, 5, 5, 25, 25]])
    await writeGray(join(folder, 'masks/case_7_ring_001.png'), [[1, 10, 10, 20, 20]])
    await writeGray(join(folder, 'masks/case_7_bar_000.png'), [[1, 10, 10, 13, 13]])
    const name = (file: string) => `elsewhere/masks/${file}`
    await writeJson(join(folder, 'label2image_test.json'), {
      [name('case_7_disc_left_000.png')]: 'images/case_7.png',
      [name('case_7_ring_001.png')]: 'images/case_7.png',
      [name('case_7_bar_000.png')]: 'images/case_7.png',
    })
    const dataset = await openDataset(folder, 'test')
    expect(dataset.images).toMatchObject([{ name: 'case_7', subject: 'case', modality: 'unknown', spacing: null }])
    const { objects, present, absent } = await dataset.images[0]!.read()
    // The ring lies on the disc, and takes nothing from it.
    expect(areas(objects)).toEqual([
      ['disc_left', 400],
      ['ring', 100],
    ])
    expect(present).toEqual(['disc_left', 'ring'])
    expect(absent).toBeNull()
    expect((await openDataset(folder, 'train')).images).toEqual([])
  })

  test("reads SA-Med2D-20M's class numbers and names", async () => {
    const folder = await ownFolder()
    const stem = 'ct_00--Source--case1--x_0012'
    await writeGray(join(folder, `images/${stem}.png`), [[90, 5, 5, 25, 25]])
    await writeGray(join(folder, `masks/${stem}--0002_000.png`), [[255, 5, 5, 25, 25]])
    await writeJson(join(folder, 'image2label_train.json'), {
      [`images/${stem}.png`]: [`masks/${stem}--0002_000.png`],
    })
    await writeJson(join(folder, 'SAMed2D_v1_class_mapping_id.json'), { Source: { spleen: '1', 'left kidney': '2' } })
    const [image] = (await openDataset(folder, 'train')).images
    expect(image).toMatchObject({ subject: 'Source--case1', modality: 'ct' })
    expect(areas((await image!.read()).objects)).toEqual([['left_kidney', 400]])
  })

  test('leaves out masks that cannot be used, says why, and keeps the others', async () => {
    const folder = await ownFolder()
    await writeGray(join(folder, 'images/c_1.png'), [[90, 5, 5, 25, 25]])
    await writeGray(join(folder, 'masks/c_1_ring_000.png'), [[255, 5, 5, 25, 25]])
    await writeGray(join(folder, 'masks/c_1_bar_000.png'), [[255, 0, 0, 9, 9]], { width: 9, height: 9 })
    await writeFile(join(folder, 'masks/c_1_bar_001.png'), 'no picture')
    const masks = ['c_1_ring_000', 'c_1_bar_000', 'c_1_bar_001', 'c_1_bar_002', 'other', 'c_1_7_000']
    await writeFile(join(folder, 'masks/other.png'), '')
    await writeFile(join(folder, 'masks/c_1_7_000.png'), '')
    await writeJson(join(folder, 'image2label_train.json'), {
      'images/c_1.png': masks.map((name) => `masks/${name}.png`),
    })
    const { objects, leftOut } = await (await openDataset(folder, 'train')).images[0]!.read()
    expect(areas(objects)).toEqual([['ring', 400]])
    expect(leftOut).toEqual([
      expect.stringMatching(/c_1_bar_000\.png has 9 x 9 pixels.*Export/),
      expect.stringMatching(/c_1_bar_001\.png/),
      expect.stringMatching(/c_1_bar_002\.png.*is not there/),
      expect.stringMatching(/other\.png is not called c_1_<class>_<instance>\.png/),
      expect.stringMatching(/c_1_7_000\.png has class number 7/),
    ])
  })

  test('class names may hold underscores', () => {
    expect(classOfMask('m/a_b_1_left_kidney_002.png', 'i/a_b_1.png', {})).toBe('left_kidney')
    expect(classOfMask('m/a_1_left kidney_002.png', 'i/a_1.png', {})).toBe('left_kidney')
  })
})

test('a folder of neither kind is an error', async () => {
  const folder = await ownFolder()
  await mkdir(join(folder, 'images'))
  await expect(openDataset(folder, 'test')).rejects.toMatchObject({
    code: 'DATASET_INVALID',
    message: expect.stringMatching(/neither dataset\.json nor/),
  })
})

function areas(objects: LabelledImage['objects']) {
  return objects.map((object) => [object.class, object.mask().area])
}

function writeJson(path: string, content: unknown) {
  return writeFile(path, JSON.stringify(content))
}
