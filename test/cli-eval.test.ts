import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ImageRecord } from '../lib/eval/records.js'
import type { Report } from '../lib/eval/report.js'
import { bundle, copiedBundle, editJson, untrainedBundle } from './fixture.js'
import { type Block, ownFolder, writeGray, writeSlices } from './labelled-images.js'
import { runProgram } from './run-program.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

const LEFT: Block = [1, 4, 6, 18, 20]
const RIGHT: Block = [2, 26, 10, 44, 30]

let out: string
let set: string

beforeEach(async () => {
  out = join(await ownFolder(), 'new', 'report')
  set = await writeSlices(await ownFolder(), { a_0: [LEFT, RIGHT], a_1: [LEFT], b_0: [RIGHT] })
})

describe('seg-sam eval', () => {
  test('writes the report as JSON, CSV and one page with pictures', async () => {
    const { code, stdout, stderr } = await evaluate('--prompts', 'box,1pt,3pt')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^prompt\s+set\s+objects\s+Dice/m)
    expect((await readdir(out)).sort()).toEqual(['records.jsonl', 'report.csv', 'report.html', 'report.json'])
    const report = await readReport()
    expect(report).toMatchObject({
      schema: 1,
      run: { bundle: { name: 'micro', device: 'cpu' }, sets: [{ name: basename(set) }], split: 'test', seed: 0 },
      leftOut: [],
    })
    expect(Object.keys(report.prompts)).toEqual(['box', '1pt', '3pt'])
    for (const { overall } of Object.values(report.prompts)) {
      expect(overall).toMatchObject({
        objects: 4,
        images: 3,
        subjects: 2,
        classRight: expect.any(Number),
        hd95Mm: null,
      })
      for (const score of ['dice', 'iou', 'nsd', 'ellipseDice'] as const) {
        expect(overall[score]).toBeGreaterThanOrEqual(0)
        expect(overall[score]).toBeLessThanOrEqual(1)
      }
    }
    expect(await readFile(join(out, 'report.csv'), 'utf8')).toMatch(/^1pt,class,disc_left,2,/m)
    const pictures = (await readFile(join(out, 'report.html'), 'utf8')).matchAll(
      /src="data:image\/webp;base64,([^"]+)"/g,
    )
    const sizes = await Promise.all([...pictures].map(([, text]) => sharp(Buffer.from(text!, 'base64')).metadata()))
    expect(sizes).toHaveLength(3)
    for (const { width, height } of sizes) expect(Math.max(width, height)).toBe(360)
  })

  test('measures names, and leaves out those of a class without a card', async () => {
    await editJson(join(set, 'dataset.json'), ({ classes }) => {
      classes[1].id = 'unheard_of'
    })
    const { code, stdout } = await evaluate('--prompts', 'box', '--json')
    expect(code).toBe(0)
    const report: Report = JSON.parse(stdout)
    const { classes, calibration } = report.prompts.box!
    expect(classes.disc_left!.classRight).not.toBeNull()
    expect(classes.unheard_of).toMatchObject({ objects: 2, classRight: null, dice: expect.any(Number) })
    expect(calibration.classProbability.count).toBe(2)
    expect(report.leftOut).toMatchObject([{ what: 'class unheard_of' }])
  })

  test('a bundle without a trained semantic part is measured by its binary masks', async () => {
    const untrained = await untrainedBundle()
    const { code, stdout } = await evaluate('--prompts', 'box', '--json', '--bundle', untrained)
    expect(code).toBe(0)
    const report: Report = JSON.parse(stdout)
    expect(report.leftOut).toMatchObject([{ what: 'names', why: expect.stringMatching(/untrained/) }])
    const { overall, calibration, riskCoverage } = report.prompts.box!
    expect(overall).toMatchObject({ dice: expect.any(Number), semanticDice: null, semanticNsd: null, classRight: null })
    expect(calibration).toMatchObject({ agreement: { count: 0 }, predictedIou: { count: 4 } })
    expect(riskCoverage.area).toBeNull()
  })

  test('goes on where it was stopped, and then reports the same', async () => {
    const options = ['--prompts', 'box,3pt', '--batch', '1', '--no-pictures'] as const
    await evaluate(...options)
    const whole = await readReport()
    const path = join(out, 'records.jsonl')
    const [header, first, second] = (await readFile(path, 'utf8')).split('\n')
    await writeFile(path, `${header}\n${first}\n${second!.slice(0, 40)}`)
    // What has a record is not read again.
    await rm(join(set, 'images', `${JSON.parse(first!).image}.png`))
    expect(await evaluate(...options)).toMatchObject({ code: 0, stderr: '' })
    expect(await readReport()).toEqual(whole)
    expect((await records()).map(({ image }) => image)).toEqual(['a_0', 'a_1', 'b_0'])
  })

  test('goes on after it was killed', async () => {
    const names = Array.from({ length: 30 }, (_, i) => [`a_${i}`, [LEFT, RIGHT]] as const)
    set = await writeSlices(await ownFolder(), Object.fromEntries(names))
    const options = ['--prompts', '5pt', '--batch', '1', '--no-pictures'] as const
    const child = spawn(process.execPath, commandLine(options))
    const closed = new Promise((resolve) => child.on('close', resolve))
    while (child.exitCode === null && linesOf(join(out, 'records.jsonl')) < 3) {
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    child.kill('SIGKILL')
    await closed
    expect(existsSync(join(out, 'report.json'))).toBe(false)
    expect((await evaluate(...options)).code).toBe(0)
    const measured = (await records()).map(({ image }) => image)
    expect([...measured].sort()).toEqual(names.map(([name]) => name).sort())
    expect((await readReport()).prompts['5pt']!.overall.objects).toBe(60)
  })

  test('refuses to mix records of another run, and says what differs and what to do', async () => {
    await evaluate('--prompts', 'box', '--no-pictures')
    const before = await readFile(join(out, 'records.jsonl'), 'utf8')
    const { code, stdout, stderr } = await evaluate('--prompts', 'box', '--seed', '5', '--no-pictures')
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^seg-sam: INVALID_ARGUMENT: .*seed 0 there, 5 now.*another --report folder[^\n]*\n$/)
    const edited = await copiedBundle()
    await editJson(join(edited, 'classes.json'), ({ classes }) => {
      classes[0].name = 'Renamed'
    })
    expect((await evaluate('--prompts', 'box', '--bundle', edited)).stderr).toMatch(/bundle .*hash/)
    expect(await readFile(join(out, 'records.jsonl'), 'utf8')).toBe(before)
  })

  test('the seed decides points and the objects that a limit leaves', async () => {
    const chosen = async (...options: string[]) => {
      await rm(out, { recursive: true, force: true })
      await evaluate('--prompts', '1pt', '--no-pictures', ...options)
      return (await records()).map(({ objects }) => objects)
    }
    const two = await chosen('--seed', '1')
    expect(two.map((objects) => objects.length)).toEqual([2, 1, 1])
    expect(await chosen('--seed', '1')).toEqual(two)
    expect(await chosen('--seed', '2')).not.toEqual(two)
    const limited = await chosen('--seed', '1', '--limit', '1')
    expect(limited.map((objects) => objects.length)).toEqual([1, 1, 1])
    // The same point; sums of a batch of another size differ in their last bits.
    const [kept] = limited[0]!
    const before = two[0]!.find(({ number }) => number === kept!.number)!
    expect(kept!.prompts['1pt']!.binary.dice).toBeCloseTo(before.prompts['1pt']!.binary.dice, 2)
  })

  test('names what it left out, goes on with the rest, and takes it in once it is mended', async () => {
    await writeGray(join(set, 'labels/a_1.png'), [[9, 0, 0, 9, 9]])
    await writeFile(join(set, 'images/b_0.png'), 'no picture')
    const empty = await writeSlices(await ownFolder(), { c_0: [LEFT] }, { split: { train: ['c'], test: [] } })
    const none = await ownFolder()
    const options = ['--prompts', 'box', '--no-pictures'] as const
    const { code, stdout } = await evaluate(...options, empty, none)
    expect(code).toBe(0)
    expect(stdout).toMatch(/Left out:/)
    const { leftOut, prompts } = await readReport()
    expect(leftOut).toEqual([
      { what: empty, why: expect.stringMatching(/"test".*Pass another --split/) },
      { what: none, why: expect.stringMatching(/neither dataset\.json/) },
      { what: `${basename(set)}/a_1`, why: expect.stringMatching(/label value 9.*Add the class/) },
      { what: `${basename(set)}/b_0`, why: expect.stringMatching(/b_0\.png/) },
    ])
    expect(prompts.box!.overall.objects).toBe(2)
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('label value 9')

    await writeGray(join(set, 'labels/a_1.png'), [LEFT])
    await evaluate(...options)
    expect((await readReport()).prompts.box!.overall.objects).toBe(3)
  })

  test('an image that the model cannot take leaves the others of its batch', async () => {
    for (const folder of ['images', 'labels']) {
      await writeGray(join(set, folder, 'a_1.png'), [[1, 0, 0, 200, 1]], { width: 200, height: 1 })
    }
    expect((await evaluate('--prompts', 'box', '--no-pictures')).code).toBe(0)
    expect((await readReport()).leftOut).toEqual([
      { what: `${basename(set)}/a_1`, why: expect.stringMatching(/200 x 1/) },
    ])
    expect((await records()).map(({ image }) => image)).toEqual(['a_0', 'b_0'])
  })

  test('fails where nothing can be measured', async () => {
    const empty = await writeSlices(await ownFolder(), { c_0: [LEFT] }, { split: { train: ['c'], test: [] } })
    set = empty
    const unusable = await evaluate()
    expect(unusable).toMatchObject({ code: 1, stdout: '' })
    expect(unusable.stderr).toMatch(
      /^seg-sam: DATASET_INVALID: Nothing can be measured\. .*Pass another --split[^\n]*\n$/,
    )
    set = await writeSlices(await ownFolder(), { c_0: [[1, 0, 0, 4, 4]] })
    expect((await evaluate()).stderr).toMatch(/no object of 30 pixels or more/)
  })

  test.each([
    [[]],
    [['b', 'd']],
    [['b', 'd', '--report', 'r', '--split', 'validation']],
    [['b', 'd', '--report', 'r', '--prompts', 'box,0pt']],
    [['b', 'd', '--report', 'r', '--limit', '0']],
    [['b', 'd', '--report', 'r', '--batch', '1.5']],
    [['b', 'd', '--report', 'r', '--tolerance', '0']],
  ])('refuses %j with exit code 2 and nothing on stdout', async (args) => {
    const { code, stdout, stderr } = await runProgram([program, 'eval', ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).not.toBe('')
  })
})

function evaluate(...options: string[]) {
  return runProgram(commandLine(options))
}

/** `--bundle`, which the command does not have, takes the place of the fixture. */
function commandLine(options: readonly string[]): string[] {
  const at = options.indexOf('--bundle')
  const rest = at < 0 ? options : options.toSpliced(at, 2)
  return [program, 'eval', at < 0 ? bundle : options[at + 1]!, set, ...rest, '--report', out, '--device', 'cpu']
}

async function readReport(): Promise<Report> {
  return JSON.parse(await readFile(join(out, 'report.json'), 'utf8'))
}

async function records(): Promise<ImageRecord[]> {
  const [, ...lines] = (await readFile(join(out, 'records.jsonl'), 'utf8')).trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line))
}

function linesOf(path: string): number {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0
}
