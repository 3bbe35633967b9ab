import { spawn } from 'node:child_process'
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { explain } from '../lib/cli/failure.js'
import { dicomWebAddress } from '../lib/dicom/dicomweb.js'
import { checkSize } from '../lib/files/limits.js'
import { chosenVolume } from '../lib/files/volume-index.js'
import { Mask } from '../lib/index.js'
import { chosenWindow } from '../lib/window.js'
import { bundle, copiedBundle, discImage, editJson, untrainedBundle } from './fixture.js'
import { runProgram } from './run-program.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

let folder: string
let scan: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-cli-'))
  const owned = folder
  onTestFinished(() => rm(owned, { recursive: true }))
  scan = join(folder, 'scan.png')
  const { data, width, height } = discImage(80, 60)
  await sharp(data as Uint8Array, { raw: { width, height, channels: 1 } })
    .toColourspace('b-w')
    .toFile(scan)
})

describe('seg-sam', () => {
  test('tells its version and how to use it', async () => {
    const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
    expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
    const help = await run('--help')
    expect(help.code).toBe(0)
    for (const command of ['segment', 'label', 'eval', 'inspect', 'doctor', 'libtorch'])
      expect(help.stdout).toContain(command)
  })

  test('explains in the help of segment how boxes and points make prompts', async () => {
    const { code, stdout } = await run('segment', '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('Every --box begins a prompt')
  })

  test.each([
    [[]],
    [['frobnicate']],
    [['segment']],
    [['segment', 'scan.png']],
    [['segment', 'scan.png', '--box', '1,2,3']],
    [['segment', 'scan.png', '--point', '1,2,7']],
    [['segment', 'scan.png', '--box', '1,2,3,4', '--colour', 'red']],
    [['segment', 'scan.png', '--box', '1,2,3,4', '--classes', 'a,,b']],
    [['segment', 'scan.png', '--box', '1,2,3,4', '--classes', 'a,b,a']],
    [['segment', 'scan.png', '--box', '1,2,3,4', '--window', '5']],
    [['label']],
    [['label', 'scan.png', '--points', 'many']],
    [['inspect', 'a', 'b']],
  ])('refuses %j with exit code 2 and nothing on stdout', async (args) => {
    const { code, stdout, stderr } = await run(...args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).not.toBe('')
  })

  test.each([
    ['segment', '--box', '40,10,20,30', /'-b, --box <x0,y0,x1,y1>' argument .* Allowed: four numbers .* x0 < x1/],
    [
      'segment',
      '--device',
      'gpu',
      /'--device <device>' argument 'gpu' is invalid\. Allowed: auto, cpu, cuda or cuda:N\./,
    ],
    ['segment', '--precision', 'fp64', /'--precision <precision>' argument 'fp64' .* auto, fp32, bf16, fp16/],
    ['segment', '--window', '5,2', /'--window <low,high>' argument '5,2' .* low < high/],
    ['segment', '--page', '-1', /'--page <n>' argument '-1' is invalid\. Allowed: a whole number from 0 on\./],
    ['label', '--points', '0', /'--points <n>' argument '0' is invalid\. Allowed: a whole number from 1 to 128\./],
    ['label', '--min-area', '0', /'--min-area <pixels>' argument '0' is invalid\. Allowed: a whole number from 1 on\./],
    ['volume', '--points', '5.5', /'--points <n>' argument '5\.5' is invalid/],
    [
      'volume',
      '--axis',
      'up',
      /'--axis <axis>' argument 'up' is invalid\. Allowed: x, y, z, axial, coronal, sagittal\./,
    ],
    ['eval', '--device', 'gpu', /'--device <device>' argument 'gpu' is invalid/],
  ])(
    '%s refuses %s %s by the name of the option, before it reads anything',
    async (command, option, value, message) => {
      const { code, stderr } = await run(command, 'not-there', option, value)
      expect(code).toBe(2)
      expect(stderr).toMatch(message)
    },
  )

  test('reports an error as one line with its code, and with the stack on request', async () => {
    const plain = await run('inspect', folder)
    expect(plain).toMatchObject({ code: 1, stdout: '' })
    expect(plain.stderr).toMatch(/^seg-sam: BUNDLE_NOT_FOUND: .*manifest\.json.*\n$/)
    const debug = await run('inspect', folder, '--debug')
    expect(debug.code).toBe(1)
    expect(debug.stderr).toMatch(/\n\s+at /)
  })
})

describe('what shows when a file is read is told in the words of the command line', () => {
  test('pages of a picture, and files of another kind', async () => {
    const pages = join(folder, 'pages.tif')
    await sharp(new Uint8Array(80 * 60), { raw: { width: 80, height: 60, channels: 1, pageHeight: 30 } }).toFile(pages)
    const several = await run('segment', pages, '--box', '1,1,9,9')
    expect(several.stderr).toMatch(/holds 2 pages\. Choose one: --page 0 reads the first\.\n$/)
    expect((await run('segment', pages, '--page', '7', '--box', '1,1,9,9')).stderr).toMatch(
      /: --page is 7; allowed: 0 to 1/,
    )
    expect((await run('label', program)).stderr).toMatch(/MetaImage\. Convert such a file first\.\n$/)
  })

  test.each<[string, () => unknown, string]>([
    [
      'volumes of a file',
      () => chosenVolume(undefined, 2, 'f'),
      'f holds 2 volumes. Choose one: --index 0 reads the first.',
    ],
    ['an index', () => chosenVolume(2, 2, 'f'), '--index is 2; allowed: 0 to 1.'],
    ['a window', () => chosenWindow('file', null), "--window is 'file'; allowed: a preset or [low, high]"],
    ['a size', () => checkSize('f', [9, 9], 80), "the size of f is '9 x 9'; allowed: at most 80 values."],
    ['an address', () => dicomWebAddress('https://server/scan'), 'passwords and tokens go into --header.'],
  ])('%s', (_, refuse, message) => {
    const text = messageOf(refuse)
    expect(text).toContain(message)
    expect(text).not.toMatch(/readImage|readVolume|maxVoxels|maxPixels|headers/)
  })

  function messageOf(refuse: () => unknown): string {
    try {
      refuse()
    } catch (error) {
      return explain(error, false)
    }
    throw new Error('nothing was refused')
  }
})

test('a reader that has seen enough, such as `head`, is no failure', async () => {
  const child = spawn(process.execPath, [program, 'inspect', bundle], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})

describe('seg-sam segment', () => {
  test('writes JSON of the documented form to stdout, and nothing else', async () => {
    const { code, stdout, stderr } = await segment(
      '--box',
      '20,15,60,45',
      '--box',
      '2,2,30,30',
      '--point',
      '9,9',
      '--json',
    )
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const result = JSON.parse(stdout)
    expect(result).toMatchObject({
      schema: 1,
      image: { path: scan, width: 80, height: 60, channels: 1 },
      model: { device: 'cpu', bundle },
      objects: [
        { prompt: { box: [20, 15, 60, 45] }, mask: { file: null }, proposals: [] },
        { prompt: { box: [2, 2, 30, 30], points: [{ x: 9, y: 9, label: 1 }] } },
      ],
    })
    expect(Object.keys(result.seconds)).toEqual(['read', 'load', 'encode', 'segment'])
    for (const { mask, semanticMask, predictedIou, agreement } of result.objects) {
      expect(Mask.fromRLE(mask.rle)).toMatchObject({ width: 80, height: 60, area: mask.area, bbox: mask.bbox })
      expect(Mask.fromRLE(semanticMask.rle).area).toBe(semanticMask.area)
      expect(Number.isFinite(predictedIou)).toBe(true)
      expect(agreement).toBeGreaterThanOrEqual(0)
      expect(agreement).toBeLessThanOrEqual(1)
    }
  })

  test('prints a table for people', async () => {
    const { code, stdout, stderr } = await segment('--box', '20,15,60,45', '--next', '--point', '5,6')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^#\s+prompt\s+class\s+probability\s+predicted IoU\s+agreement\s+area/m)
    expect(stdout).toMatch(/^1\s+box 20,15,60,45\s/m)
    expect(stdout).toMatch(/^2\s+point 5,6\s/m)
    expect(stdout).toMatch(/load \d+\.\d\d s, encode \d+\.\d\d s/)
  })

  test('writes masks, overlay and result.json into the folder given', async () => {
    const out = join(folder, 'new', 'found')
    const { code, stdout } = await segment(
      '--box',
      '20,15,60,45',
      '--point',
      '5,6',
      '--next',
      '--point',
      '5,6',
      '--json',
      '--out',
      out,
    )
    expect(code).toBe(0)
    expect((await readdir(out)).sort()).toEqual([
      'mask-1.png',
      'mask-2.png',
      'overlay.png',
      'result.json',
      'semantic-mask-1.png',
      'semantic-mask-2.png',
    ])
    const text = await readFile(join(out, 'result.json'), 'utf8')
    expect(text).toBe(stdout)
    const { objects } = JSON.parse(text)
    expect(objects[1].mask.file).toBe('mask-2.png')
    const { data, info } = await sharp(join(out, 'mask-2.png')).raw().toBuffer({ resolveWithObject: true })
    const gray = data.filter((_, i) => i % info.channels === 0)
    expect(info).toMatchObject({ width: 80, height: 60 })
    expect(gray.every((value) => value === 0 || value === 255)).toBe(true)
    expect(gray.filter((value) => value === 255).length).toBe(objects[1].mask.area)
    const overlay = await sharp(join(out, 'overlay.png')).metadata()
    expect(overlay).toMatchObject({ format: 'png', width: 1024 })
  })

  test('gives three proposals with --multimask, the best of them as the mask', async () => {
    const out = join(folder, 'found')
    const { stdout } = await segment('--point', '40,30', '--multimask', '--json', '--out', out)
    const [object] = JSON.parse(stdout).objects
    expect(object.proposals).toHaveLength(3)
    const best = Math.max(...object.proposals.map(({ predictedIou }: { predictedIou: number }) => predictedIou))
    expect(object.predictedIou).toBe(best)
    const files = object.proposals.map(({ mask }: { mask: { file: string } }) => mask.file)
    expect(new Set(files).size).toBe(3)
    expect(files).toContain('mask-1.png')
    for (const file of files) expect(await readdir(out)).toContain(file)
  })

  test('names the most probable classes, of those allowed only', async () => {
    const naming = await copiedBundle()
    await editJson(join(naming, 'manifest.json'), (manifest) => {
      manifest.semantic = 'trained'
    })
    const all = await segment('--box', '20,15,60,45', '--json', '--model', naming)
    const ids = idsOf(JSON.parse(all.stdout).objects[0])
    expect(ids.length).toBeGreaterThan(3)
    const allowed = ids.slice(1, 3)
    const restricted = await segment(
      '--box',
      '20,15,60,45',
      '--json',
      '--model',
      naming,
      '--classes',
      allowed.join(','),
    )
    expect(idsOf(JSON.parse(restricted.stdout).objects[0]).sort()).toEqual(allowed.sort())
  })

  test('draws the image in the window that the bundle takes by default', async () => {
    const data = Uint8Array.from({ length: 80 * 60 }, (_, i) => 10 + (i % 31))
    const dim = join(folder, 'dim.png')
    await sharp(data, { raw: { width: 80, height: 60, channels: 1 } })
      .png()
      .toFile(dim)
    const whole = await copiedBundle()
    await editJson(join(whole, 'manifest.json'), (manifest) => {
      manifest.default_window = 'min_max'
    })
    const overlays = await Promise.all(
      [
        ['--model', whole],
        ['--model', bundle, '--window', '10,40'],
        ['--model', bundle],
      ].map(async (args, i) => {
        const out = join(folder, `window-${i}`)
        expect(await run('segment', dim, '--device', 'cpu', '--box', '5,5,40,40', '--out', out, ...args)).toMatchObject(
          {
            code: 0,
          },
        )
        return readFile(join(out, 'overlay.png'))
      }),
    )
    expect(overlays[0]!.equals(overlays[1]!)).toBe(true)
    expect(overlays[0]!.equals(overlays[2]!)).toBe(false)
  })

  test('reports nothing of an untrained semantic part: no class, no mask, no agreement', async () => {
    const untrained = await untrainedBundle()
    const { classes } = JSON.parse(await readFile(join(untrained, 'classes.json'), 'utf8'))
    const out = join(folder, 'unnamed')
    const args = ['--box', '20,15,60,45', '--multimask', '--model', untrained, '--out', out]
    const { code, stdout, stderr } = await segment(...args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^1\s+box 20,15,60,45\s+\(model names no classes\)\s+-?\d\.\d\d\s+\d+$/m)
    expect(stdout).not.toContain('Also in the image')
    const text = await readFile(join(out, 'result.json'), 'utf8')
    for (const { id, name } of classes) {
      expect(stdout).not.toContain(name)
      expect(text).not.toContain(`"${id}"`)
      expect(text).not.toContain(`"${name}"`)
    }
    const [object] = JSON.parse(text).objects
    expect(object).toMatchObject({ label: null, labelReason: 'untrained', candidates: [], others: [] })
    expect(object).toMatchObject({ agreement: null, semanticMask: null })
    expect(object.proposals.map(({ agreement }: { agreement: unknown }) => agreement)).toEqual([null, null, null])
    expect(object.mask.area).toBeGreaterThan(0)
    expect((await readdir(out)).filter((name) => name.startsWith('semantic'))).toEqual([])
    expect((await run('inspect', untrained)).stdout).toMatch(/^semantic part\s+untrained: names no classes/m)
  })

  test('counts a prompt outside the image and an unknown class as a wrong command line', async () => {
    const outside = await segment('--box', '20,15,90,45')
    expect(outside).toMatchObject({ code: 2, stdout: '' })
    expect(outside.stderr).toMatch(/^seg-sam: INVALID_PROMPT: x1 of --box 20,15,90,45 is 90; [^\n]+\n$/)
    const beside = await segment('--box', '20,15,60,45', '--point', '30,20', '--point', '5,60,0')
    expect(beside).toMatchObject({ code: 2, stdout: '' })
    expect(beside.stderr).toMatch(/^seg-sam: INVALID_PROMPT: y of --point 5,60 is 60; [^\n]+\n$/)
    const unknown = await segment('--box', '20,15,60,45', '--classes', 'no_such_class')
    expect(unknown).toMatchObject({ code: 2, stdout: '' })
    expect(unknown.stderr).toMatch(/^seg-sam: UNKNOWN_CLASS: --classes has 'no_such_class'[^\n]+\n$/)
    const misspelt = await segment('--box', '20,15,60,45', '--classes', 'bar,rnig')
    expect(misspelt.stderr).toMatch(
      /'rnig'; allowed: the 4 ids that `seg-sam inspect .* lists\. Did you mean ring\?\n$/,
    )
  })

  test('fails on an image that is not one, and on a folder that cannot be made', async () => {
    const text = await run('segment', program, '--box', '1,1,5,5', '--model', bundle)
    expect(text).toMatchObject({ code: 1, stdout: '' })
    expect(text.stderr).toMatch(/^seg-sam: UNSUPPORTED_FORMAT: [^\n]+\n$/)
    const blocked: [string, string][] = [
      [scan, 'is a file; a folder is needed'],
      [join(scan, 'found'), 'cannot be made, because something in its path is a file'],
    ]
    for (const [out, reason] of blocked) {
      const stderr = `seg-sam: WRITE_FAILED: --out ${out} ${reason}. Pass another folder.\n`
      expect(await segment('--box', '20,15,60,45', '--out', out)).toEqual({ code: 1, stdout: '', stderr })
      expect(await run('label', scan, '--model', bundle, '--out', out)).toEqual({ code: 1, stdout: '', stderr })
    }
  })

  test('fails on a file that cannot be written over', async () => {
    const out = join(folder, 'taken')
    await mkdir(join(out, 'overlay.png'), { recursive: true })
    const stderr = `seg-sam: WRITE_FAILED: ${join(out, 'overlay.png')} cannot be written: a folder has its name.\n`
    expect(await segment('--box', '20,15,60,45', '--out', out)).toEqual({ code: 1, stdout: '', stderr })
    expect(await run('label', scan, '--model', bundle, '--out', out)).toEqual({ code: 1, stdout: '', stderr })
  })

  test('fails on a folder that may not be written to', async () => {
    const closed = join(folder, 'closed')
    await mkdir(closed, { mode: 0o555 })
    await chmod(folder, 0o755)
    // Root may write anywhere, so that it lets go of its rights, once the module is loaded.
    const script = `const { makeFolder } = await import(process.argv[1])
      if (process.getuid() === 0) process.setuid(65534)
      for (const out of process.argv.slice(2)) await makeFolder(out, '--out').catch(({ message }) => console.log(message))`
    const module = new URL('../dist/cli/out-folder.js', import.meta.url).href
    const outs = [closed, join(closed, 'found')]
    const { stdout } = await runProgram(['--input-type=module', '--eval', script, module, ...outs])
    const lines = outs.map((out) => `--out ${out} cannot be written to with your rights. Pass another folder.\n`)
    expect(stdout).toBe(lines.join(''))
  })

  function segment(...args: string[]) {
    return run('segment', scan, '--model', bundle, '--device', 'cpu', ...args)
  }
})

describe('seg-sam label', () => {
  test('writes the label map, the objects that count, an overlay and result.json', async () => {
    const naming = await copiedBundle()
    await editJson(join(naming, 'manifest.json'), (manifest) => {
      manifest.semantic = 'trained'
    })
    await editJson(join(naming, 'classes.json'), ({ classes }) => {
      for (const each of classes) each.countable = true
    })
    const out = join(folder, 'labelled')
    const { code, stdout, stderr } = await label('--model', naming, '--out', out, '--json', '--fill-holes')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(await readFile(join(out, 'result.json'), 'utf8')).toBe(stdout)
    const result = JSON.parse(stdout)
    expect(result).toMatchObject({ schema: 1, image: { path: scan, width: 80, height: 60 }, model: { bundle: naming } })
    expect(Object.keys(result.seconds)).toEqual(['read', 'load', 'encode', 'label', 'write'])
    const counted = result.classes.some(({ countable }: { countable: boolean }) => countable)
    const files = ['labels.png', ...(counted ? ['instances.png'] : []), 'overlay.png']
    expect(Object.values(result.files).filter(Boolean)).toEqual(files)
    expect((await readdir(out)).sort()).toEqual([...files, 'result.json'].sort())
    const values = await sharp(join(out, 'labels.png')).toColourspace('b-w').raw().toBuffer()
    for (const { value, pixels, area, colour } of result.classes) {
      expect(values.filter((each) => each === value)).toHaveLength(pixels)
      expect(area).toBeCloseTo(pixels / (80 * 60))
      expect(colour).toMatch(/^#[0-9A-F]{6}$/)
    }
  })

  test('looks at crops, too, where it is asked to', async () => {
    const { code, stdout } = await label('--model', bundle, '--json', '--crop-layers', '1')
    expect(code).toBe(0)
    const { seconds } = JSON.parse(stdout)
    expect(Object.keys(seconds)).toEqual(['read', 'load', 'label'])
    const many = await label('--model', bundle, '--crop-layers', '9')
    expect(many).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/'--crop-layers <n>' argument '9'/),
    })
  })

  test('prints a table for people, in which an untrained model names nothing', async () => {
    const untrained = await untrainedBundle()
    const { code, stdout, stderr } = await label('--model', untrained)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^value\s+class\s+objects\s+pixels\s+area\s+confidence$|^Nothing was found\.$/m)
    expect(stdout).toMatch(/label \d+\.\d\d s/)
    const { labelReason, classes, files } = JSON.parse((await label('--model', untrained, '--json')).stdout)
    expect({ labelReason, files }).toEqual({
      labelReason: 'untrained',
      files: { labels: null, instances: null, overlay: null },
    })
    for (const { id, confidence } of classes) expect({ id, confidence }).toEqual({ id: 'unknown', confidence: null })
  })

  test('counts options out of range and an unknown class as a wrong command line', async () => {
    const many = await label('--model', bundle, '--points', '500')
    expect(many).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/'--points <n>' argument '500'/) })
    const unknown = await label('--model', bundle, '--classes', 'no_such_class')
    expect(unknown).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/UNKNOWN_CLASS/) })
  })

  function label(...args: string[]) {
    return run('label', scan, '--device', 'cpu', '--points', '6', ...args)
  }
})

describe('seg-sam inspect', () => {
  test('verifies every file of a bundle', async () => {
    const { code, stdout } = await run('inspect', bundle, '--json')
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ directory: bundle, intact: true, manifest: { schema: 1 } })
    const states = report.files.map(({ state }: { state: string }) => state)
    expect(new Set(states)).toEqual(new Set(['verified']))
    const readable = await run('inspect', bundle)
    expect(readable.code).toBe(0)
    expect(readable.stdout).toContain('The bundle is intact.')
    expect(readable.stdout).toContain(report.manifest.name)
  })

  test('reports edited class cards, and takes them', async () => {
    const edited = await copiedBundle()
    await editJson(join(edited, 'classes.json'), ({ classes }) => {
      classes[0].name = 'Renamed'
    })
    const { code, stdout } = await run('inspect', edited)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^classes\.json\s+\d+\s+edited/m)
  })

  test('fails where a module differs from its hash', async () => {
    const tampered = await copiedBundle()
    await appendFile(join(tampered, 'decoder.pt'), 'x')
    const { code, stdout } = await run('inspect', tampered)
    expect(code).toBe(1)
    expect(stdout).toMatch(/^decoder\.pt\s+\d+\s+DIFFERS/m)
    const segmented = await run('segment', scan, '--box', '1,1,5,5', '--model', tampered)
    expect(segmented.stderr).toMatch(/^seg-sam: BUNDLE_TAMPERED: decoder\.pt/)
  })
})

describe('seg-sam doctor', () => {
  test('tells what the addon runs on', async () => {
    const { stdout, stderr } = await run('doctor', '--json')
    expect(stderr).toBe('')
    const { runtime, checks } = JSON.parse(stdout)
    expect(runtime).toMatchObject({ libtorch: expect.stringMatching(/^\d+\.\d+/), threads: expect.any(Number) })
    const working = checks.filter(({ ok }: { ok: boolean }) => ok).map(({ name }: { name: string }) => name)
    expect(working).toEqual(
      expect.arrayContaining(['host', 'addon', 'libtorch', 'devices', 'threads', 'instruction sets']),
    )
  })

  test('works without the addon, tells the remedy, and exits with 1', async () => {
    const nothing = join(folder, 'nothing')
    await mkdir(nothing)
    const withoutAddon = { SEG_SAM_PREBUILD: nothing }
    const readable = await runWith(withoutAddon, 'doctor')
    expect(readable.code).toBe(1)
    expect(readable.stdout).toMatch(/^MISSING\s+addon/m)
    expect(readable.stdout).toContain('npm run build:native')
    const { code, stdout } = await runWith(withoutAddon, 'doctor', '--json')
    expect(code).toBe(1)
    const { ok, runtime, checks } = JSON.parse(stdout)
    expect({ ok, runtime }).toEqual({ ok: false, runtime: null })
    expect(checks.find(({ name }: { name: string }) => name === 'addon').remedy).toContain('build:native')
  })
})

interface Named {
  label: { id: string } | null
  candidates: { id: string }[]
}

function idsOf({ label, candidates }: Named): string[] {
  return [...(label ? [label] : []), ...candidates].map(({ id }) => id)
}

function run(...args: string[]) {
  return runWith({}, ...args)
}

function runWith(environment: Record<string, string>, ...args: string[]) {
  return runProgram([program, ...args], { env: { ...process.env, ...environment }, cwd: folder })
}
