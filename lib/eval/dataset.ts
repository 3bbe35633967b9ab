import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { SegSamError } from '../errors.js'
import type { Dataset, Split } from './labelled-image.js'
import { openLabelledSlices } from './labelled-slices.js'
import { isSamMed2d, openSamMed2d } from './sam-med2d.js'

/**
 * Lists the images of a data set: a folder with `dataset.json`, or one in the layout of SAM-Med2D and SA-Med2D-20M.
 *
 * @throws SegSamError `DATASET_INVALID`
 */
export async function openDataset(folder: string, split: Split): Promise<Dataset> {
  const dataset = await listImages(folder, basename(resolve(folder)), split)
  const names = dataset.images.map(({ name }) => name)
  const seen = new Set<string>()
  const twice = names.find((name) => seen.size === seen.add(name).size)
  if (twice === undefined) return dataset
  throw new SegSamError('DATASET_INVALID', `${folder} has two images called ${twice}. Rename one, and its labels.`)
}

async function listImages(folder: string, name: string, split: Split): Promise<Dataset> {
  if (existsSync(join(folder, 'dataset.json'))) return openLabelledSlices(folder, name, split)
  if (isSamMed2d(folder)) return openSamMed2d(folder, name, split)
  throw new SegSamError(
    'DATASET_INVALID',
    `${folder} holds neither dataset.json nor SAM-Med2D's label2image_test.json or image2label_train.json. ` +
      'Pass the folder of a data set as docs/evaluation.md describes it.',
  )
}
