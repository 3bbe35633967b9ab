import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ClassCard, readVolume, toDicomSeg, toRTStruct, type VolumeSegmentation } from '../lib/index.js'
import { codesOf, errorsOf, judgedByPydicom } from './dicom-judges.js'
import { FORMS, maskOf, segmentationOf, writeSeries } from './dicom-series.js'
import { hasProgram, hasPython } from './outside-tools.js'

const folder = mkdtempSync(join(tmpdir(), 'seg-sam-dicom-cards-'))
const source = join(folder, 'source')
afterAll(() => rmSync(folder, { recursive: true }))

/** All cards that models are trained with. */
const shipped = fileURLToPath(new URL('../models/cards', import.meta.url))
const cards: ClassCard[] = readdirSync(shipped)
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => JSON.parse(readFileSync(join(shipped, name), 'utf8')).classes)

let segmentation: VolumeSegmentation
beforeAll(async () => {
  writeSeries(source, FORMS['one slice']!)
  const volume = await readVolume(source)
  const { model, segments } = segmentationOf(volume)
  segmentation = {
    volume,
    model,
    segments: cards.map(({ id, name, codes = [] }, n) => ({
      ...segments[0]!,
      name,
      class: { id, name, codes },
      mask: maskOf(volume, (i, j) => i + 23 * j === n),
    })),
  }
  writeFileSync(join(folder, 'seg-cards.dcm'), await toDicomSeg(segmentation))
  writeFileSync(join(folder, 'rt.dcm'), await toRTStruct(segmentation))
})

test('left and right are told apart by a modifier', () => {
  const left = codesOf(cards.find(({ id }) => id === 'kidney_left')!)
  const right = codesOf(cards.find(({ id }) => id === 'kidney_right')!)
  expect(left.type).toEqual(right.type)
  expect([left.modifier, right.modifier]).toEqual([
    ['SCT', '7771000', 'Left'],
    ['SCT', '24028007', 'Right'],
  ])
})

test.skipIf(!hasPython('pydicom', 'skimage'))('pydicom finds what each card is, and its side', async () => {
  expect(cards.length).toBeGreaterThan(100)
  const segments = segmentation.segments.map((segment, n) => ({ ...segment, codes: codesOf(cards[n]!) }))
  const expected = { volume: segmentation.volume, segments }
  expect(await judgedByPydicom(folder, source, expected)).toEqual({ code: 0, output: 'as meant\n' })
})

test.skipIf(!hasProgram('dciodvfy'))('dciodvfy finds no error', async () => {
  for (const file of ['seg-cards.dcm', 'rt.dcm']) expect(await errorsOf(join(folder, file))).toEqual([])
})
