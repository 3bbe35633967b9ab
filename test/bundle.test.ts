import { createHash } from 'node:crypto'
import { appendFile, mkdtemp, readFile, rm, truncate, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { inspectBundle, type LoadOptions, SegSam } from '../lib/index.js'
import { editJson } from './fixture.js'

let folder: string

/** Right in everything but the modules, which are looked at last. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-bundle-'))
  const owned = folder
  onTestFinished(() => rm(owned, { recursive: true }))
  const contents: Record<string, string> = {
    'encoder.pt': 'encoder',
    'decoder.pt': 'decoder',
    'text_encoder.pt': 'text encoder',
    'tokenizer.json': '{}',
    'README.md': '# Card',
    'classes.json': JSON.stringify({
      schema: 1,
      classes: [{ id: 'disc', name: 'Disc', sentences: ['Round.'] }],
    }),
  }
  const files: Record<string, { bytes: number; sha256: string }> = {}
  for (const [name, content] of Object.entries(contents)) {
    await writeFile(join(folder, name), content)
    files[name] = { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') }
  }
  const manifest = {
    schema: 1,
    name: 'empty',
    version: '1.0.0',
    architecture: 'tiny',
    image_size: 256,
    mask_size: 64,
    resize_mode: 'longest',
    pixel_mean: [1, 2, 3],
    pixel_std: [1, 2, 3],
    dtype: 'float32',
    text_width: 8,
    text_length: 16,
    semantic: 'trained',
    licence: 'Apache-2.0',
    files,
  }
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest))
})

describe('inspectBundle', () => {
  it('reports what a bundle is and that its files are those of the manifest', async () => {
    const report = await inspectBundle(folder)
    expect(report.intact).toBe(true)
    expect(report.manifest).toMatchObject({ name: 'empty', image_size: 256 })
    expect(report.classes).toEqual([{ id: 'disc', name: 'Disc', sentences: ['Round.'] }])
    expect(report.files).toContainEqual({
      name: 'encoder.pt',
      bytes: 7,
      sha256: createHash('sha256').update('encoder').digest('hex'),
      state: 'verified',
    })
    expect(new Set(report.files.map(({ state }) => state))).toEqual(new Set(['verified']))
  })

  it('reports files that differ or are missing', async () => {
    await writeFile(join(folder, 'encoder.pt'), 'ENCODER')
    await unlink(join(folder, 'decoder.pt'))
    const { intact, files } = await inspectBundle(folder)
    expect(intact).toBe(false)
    expect(files).toContainEqual(expect.objectContaining({ name: 'encoder.pt', state: 'differs' }))
    expect(files).toContainEqual({ name: 'decoder.pt', bytes: null, sha256: null, state: 'missing' })
  })

  it('takes edited class cards for what they are', async () => {
    await editJson(join(folder, 'classes.json'), ({ classes }) => {
      classes.push({ id: 'ring', name: 'Ring', synonyms: ['annulus'], sentences: [] })
    })
    const { intact, classes, files } = await inspectBundle(folder)
    expect(intact).toBe(true)
    expect(classes.map(({ id }) => id)).toEqual(['disc', 'ring'])
    expect(files).toContainEqual(expect.objectContaining({ name: 'classes.json', state: 'edited' }))
  })

  it('stops when it is aborted', async () => {
    const reason = new Error('enough')
    await expect(inspectBundle(folder, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('SegSam.load refuses', () => {
  it('a folder that is no bundle', async () => {
    await expect(SegSam.load(join(folder, 'none'))).rejects.toMatchObject({
      code: 'BUNDLE_NOT_FOUND',
      message: expect.stringMatching(/manifest\.json/),
    })
    await expect(SegSam.load(null as unknown as string)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('a file with another hash', async () => {
    await writeFile(join(folder, 'encoder.pt'), 'ENCODER')
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_TAMPERED',
      message: expect.stringMatching(/encoder\.pt.*SHA-256/),
    })
  })

  it('a truncated file, a longer one and a missing one', async () => {
    await truncate(join(folder, 'decoder.pt'), 3)
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_TAMPERED',
      message: expect.stringMatching(/decoder\.pt.*3 bytes.*7/),
    })
    await writeFile(join(folder, 'decoder.pt'), 'decoder')
    await appendFile(join(folder, 'README.md'), '!')
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_TAMPERED',
      message: expect.stringMatching(/README\.md/),
    })
    await unlink(join(folder, 'README.md'))
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_TAMPERED',
      message: expect.stringMatching(/missing/),
    })
  })

  it('a manifest that is cut off, foreign or newer', async () => {
    const path = join(folder, 'manifest.json')
    const whole = await readFile(path, 'utf8')
    for (const content of [whole.slice(0, 200), '', '[]', 'null', '{}', '{"model_type":"sam"}']) {
      await writeFile(path, content)
      await expect(SegSam.load(folder), content).rejects.toMatchObject({ code: 'BUNDLE_INVALID' })
    }
    await writeFile(path, JSON.stringify({ ...JSON.parse(whole), schema: 2 }))
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringMatching(/schema 2/),
    })
  })

  it('values that the model cannot have', async () => {
    const path = join(folder, 'manifest.json')
    const whole = JSON.parse(await readFile(path, 'utf8'))
    for (const change of [
      { image_size: 0 },
      { image_size: 1e12 },
      { mask_size: 1.5 },
      { pixel_std: [1, 0, 1] },
      { resize_mode: 'crop' },
      { semantic: true },
      { text_length: -1 },
    ]) {
      await writeFile(path, JSON.stringify({ ...whole, ...change }))
      await expect(SegSam.load(folder), JSON.stringify(change)).rejects.toMatchObject({
        code: 'BUNDLE_INVALID',
        message: expect.stringContaining(Object.keys(change)[0]!),
      })
    }
  })

  it('a manifest that reaches outside its folder, or leaves a module out', async () => {
    const path = join(folder, 'manifest.json')
    const listed = { bytes: 1, sha256: '0'.repeat(64) }
    await editJson(path, ({ files }) => {
      files['../secret'] = listed
    })
    await expect(SegSam.load(folder)).rejects.toMatchObject({ code: 'BUNDLE_INVALID' })
    await editJson(path, ({ files }) => {
      delete files['../secret']
      delete files['decoder.pt']
    })
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringMatching(/decoder\.pt/),
    })
  })

  it('class cards that are not cards', async () => {
    const card = { id: 'disc', name: 'Disc', sentences: ['Round.'] }
    for (const classes of [
      [],
      [card, card],
      [{ ...card, id: '' }],
      [{ id: 'disc' }],
      'disc',
      [{ ...card, sentences: [3] }],
    ]) {
      await writeFile(join(folder, 'classes.json'), JSON.stringify({ schema: 1, classes }))
      await expect(SegSam.load(folder), JSON.stringify(classes)).rejects.toMatchObject({
        code: 'BUNDLE_INVALID',
        message: expect.stringMatching(/classes\.json/),
      })
    }
    await unlink(join(folder, 'classes.json'))
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringMatching(/classes\.json/),
    })
  })

  it('a tokenizer that is none', async () => {
    await expect(SegSam.load(folder)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringMatching(/tokenizer\.json/),
    })
  })

  it('options that are none', async () => {
    for (const options of [null, 'cpu', { devise: 'cpu' }, { device: null }, { device: ['gpu'] }, { signal: 1 }]) {
      await expect(SegSam.load(folder, options as LoadOptions), JSON.stringify(options)).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'INVALID_ARGUMENT',
      })
    }
    await expect(inspectBundle(folder, null as unknown as object)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('a device or precision that does not exist', async () => {
    await expect(SegSam.load(folder, { device: 'gpu' as 'cuda' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/'gpu'.*'cuda:N'/),
    })
    await expect(SegSam.load(folder, { precision: 'int4' as 'int8' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/'int4'.*'int8'/),
    })
  })
})
