import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { automaticWindow, type MedicalImage } from '../lib/image.js'
import { placeLabel, type Rect } from '../lib/overlay/placement.js'
import { drawOverlay, type OverlayObject } from '../lib/overlay.js'

const ORANGE = [230, 159, 0]
const SKY_BLUE = [86, 180, 233]
const YELLOW = [240, 228, 66]
const WHITE = [255, 255, 255]

describe('drawOverlay', () => {
  test('outlines the mask where it ends and leaves its inside as it was', async () => {
    const picture = await draw(grayImage(16, 16, 100), [{ mask: block(4, 4, 11, 11) }])
    const scale = 1024 / 16
    expect(picture.at(4 * scale, 8 * scale)).toEqual(ORANGE)
    expect(picture.at(12 * scale, 8 * scale)).toEqual(ORANGE)
    expect(picture.at(8 * scale, 4 * scale)).toEqual(ORANGE)
    expect(picture.at(8 * scale, 12 * scale)).toEqual(ORANGE)
    expect(picture.at(8 * scale, 8 * scale)).toEqual([100, 100, 100])
    expect(picture.at(2 * scale, 8 * scale)).toEqual([100, 100, 100])
  })

  test('outlines holes', async () => {
    const frame = block(2, 2, 13, 13, [6, 6, 9, 9])
    const picture = await draw(grayImage(16, 16, 100), [{ mask: frame }])
    expect(picture.at(6 * 64, 8 * 64)).toEqual(ORANGE)
    expect(picture.at(10 * 64, 8 * 64)).toEqual(ORANGE)
  })

  test('shows nothing of a semantic mask and a label that are null', async () => {
    const image = grayImage(16, 16, 100)
    const plain = await drawOverlay(image, [{ mask: block(4, 4, 11, 11) }])
    const unnamed = await drawOverlay(image, [{ mask: block(4, 4, 11, 11), semanticMask: null, label: null }])
    expect(unnamed.equals(plain)).toBe(true)
    const named = await drawOverlay(image, [
      { mask: block(4, 4, 11, 11), semanticMask: block(6, 6, 9, 9), label: null },
    ])
    expect(named.equals(plain)).toBe(false)
  })

  test('draws an object in a colour of its own, and refuses what is none', async () => {
    const object = { mask: block(4, 4, 11, 11), colour: '#20C0A0' }
    const picture = await draw(grayImage(16, 16, 100), [object])
    expect(picture.at(4 * 64, 8 * 64)).toEqual([0x20, 0xc0, 0xa0])
    for (const colour of ['red', '#12345', '#000000" onload="x']) {
      await expect(draw(grayImage(16, 16, 100), [{ ...object, colour }])).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    }
  })

  test('dashes the outline of the semantic mask', async () => {
    const picture = await draw(grayImage(16, 16, 100), [
      { mask: block(1, 1, 14, 14), semanticMask: block(4, 4, 11, 11) },
    ])
    const edge = Array.from({ length: 400 }, (_, i) => picture.at(4 * 64, 5 * 64 + i))
    const blue = edge.filter((colour) => near(colour, SKY_BLUE)).length
    expect(blue).toBeGreaterThan(100)
    expect(blue).toBeLessThan(350)
    expect(picture.at(1 * 64, 8 * 64)).toEqual(ORANGE)
  })

  test('draws the box and the points of the prompts in pixels of the image', async () => {
    const object = { mask: block(6, 6, 9, 9) }
    const boxed = await draw(grayImage(16, 16, 100), [object], { prompts: [{ box: [2, 3, 12, 13] }] })
    expect(boxed.at(2.5 * 64, 8 * 64)).toEqual(YELLOW)
    expect(boxed.at(8 * 64, 13.5 * 64)).toEqual(YELLOW)
    const clicked = await draw(grayImage(16, 16, 100), [object], {
      prompts: [
        {
          points: [
            { x: 7, y: 7 },
            { x: 12, y: 3, label: 0 },
          ],
        },
      ],
    })
    expect(clicked.at(7.5 * 64 + 4, 7.5 * 64 + 4)).toEqual([0, 158, 115])
    expect(clicked.at(12.5 * 64 + 4, 3.5 * 64 + 4)).toEqual([213, 94, 0])
  })

  test('writes the name beside the object, not over it', async () => {
    const object = { mask: block(4, 4, 11, 11), label: { id: 'liver', name: 'Liver', probability: 0.9 } }
    const labelled = await draw(grayImage(16, 16, 100), [object])
    const inside = { x: 4 * 64 + 6, y: 4 * 64 + 6, width: 8 * 64 - 12, height: 8 * 64 - 12 }
    expect(labelled.count(WHITE, { x: 0, y: 0, width: 1024, height: 1024 })).toBeGreaterThan(200)
    expect(labelled.count([100, 100, 100], inside)).toBe(inside.width * inside.height)
    const unlabelled = await draw(grayImage(16, 16, 100), [{ mask: object.mask, label: null }])
    expect(unlabelled.count(WHITE, { x: 0, y: 0, width: 1024, height: 1024 })).toBe(0)
  })

  test('writes letters, not boxes, where the machine has no font', async () => {
    const noFonts = join(await mkdtemp(join(tmpdir(), 'seg-sam-')), 'fonts.conf')
    await writeFile(noFonts, '<?xml version="1.0"?><fontconfig></fontconfig>')
    process.env.FONTCONFIG_FILE = noFonts
    const named = (name: string) => [{ mask: block(4, 4, 11, 11), label: { id: 'x', name, probability: 1 } }]
    const one = await draw(grayImage(16, 16, 100), named('nmnmnm'))
    const other = await draw(grayImage(16, 16, 100), named('mnmnmn'))
    expect(one.size).toEqual(other.size)
    expect(one.pixels.equals(other.pixels)).toBe(false)
  })

  test('writes the id of a class whose name the font cannot write', async () => {
    const named = (name: string) => [{ mask: block(4, 4, 11, 11), label: { id: 'liver', name, probability: 0.5 } }]
    const foreign = await draw(grayImage(16, 16, 100), named('肝臓'))
    const plain = await draw(grayImage(16, 16, 100), named('liver'))
    expect(foreign.pixels.equals(plain.pixels)).toBe(true)
  })

  test('shows 16-bit pixels in the window given, else between their 0.5 and 99.5 percentiles', async () => {
    const data = Uint16Array.from({ length: 16 * 16 }, (_, i) => (i < 8 * 16 ? 1000 : 3000))
    const image: MedicalImage = { data, width: 16, height: 16, channels: 1 }
    const top = (picture: Picture) => picture.at(512, 100)
    const bottom = (picture: Picture) => picture.at(512, 900)
    const automatic = await draw(image, [])
    expect([top(automatic), bottom(automatic)]).toEqual([[0, 0, 0], WHITE])
    const windowed = await draw(image, [], { window: [0, 4000] })
    expect([top(windowed), bottom(windowed)]).toEqual([
      [64, 64, 64],
      [191, 191, 191],
    ])
  })

  test('keeps the colours of an RGB image and drops alpha', async () => {
    const data = Uint8Array.from({ length: 16 * 16 * 4 }, (_, i) => [10, 200, 30, 0][i % 4]!)
    const picture = await draw({ data, width: 16, height: 16, channels: 4 }, [])
    expect(picture.at(500, 500)).toEqual([10, 200, 30])
  })

  test.each([
    [1, 1],
    [2000, 1],
    [1, 900],
  ])('draws an image of %i x %i pixels', async (width, height) => {
    const label = { id: 'liver', name: 'Liver', probability: 0.9 }
    const picture = await draw(grayImage(width, height, 100), [{ mask: block(0, 0, 0, 0), label }])
    expect(picture.size.width).toBeGreaterThanOrEqual(256)
    expect(picture.size.height).toBeGreaterThan(1)
  })

  test('makes the longest side as long as asked', async () => {
    const picture = await draw(grayImage(100, 50, 0), [], { size: 600 })
    expect(picture.size.width).toBe(600)
    await expect(drawOverlay(grayImage(9, 9, 0), [], { size: 5 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test.each([
    ['no image', null, [], {}, 'INVALID_IMAGE'],
    ['pixels that do not fill the image', { ...grayImage(9, 9, 0), data: new Uint8Array(3) }, [], {}, 'INVALID_IMAGE'],
    ['no list of objects', grayImage(9, 9, 0), null, {}, 'INVALID_ARGUMENT'],
    ['a window of one end', grayImage(9, 9, 0), [], { window: [5] }, 'INVALID_ARGUMENT'],
    ['options that are none', grayImage(9, 9, 0), [], null, 'INVALID_ARGUMENT'],
  ])('refuses %s', async (_, image, objects, options, code) => {
    const call = drawOverlay(image as MedicalImage, objects as [], options as object)
    await expect(call).rejects.toMatchObject({ name: 'SegSamError', code })
  })

  test('refuses a list of prompts that does not match the objects', async () => {
    const drawn = drawOverlay(grayImage(9, 9, 0), [{ mask: block(1, 1, 2, 2) }], {
      prompts: [{ box: [0, 0, 3, 3] }, { box: [0, 0, 3, 3] }],
    })
    await expect(drawn).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('placeLabel', () => {
  const frame: Rect = { x: 0, y: 0, width: 600, height: 400 }
  const rect = fc.record({
    x: fc.integer({ min: 0, max: 500 }),
    y: fc.integer({ min: 0, max: 340 }),
    width: fc.integer({ min: 1, max: 100 }),
    height: fc.integer({ min: 1, max: 60 }),
  })

  test('stays in the frame and off the obstacles where there is room', () => {
    fc.assert(
      fc.property(fc.array(rect, { minLength: 1, maxLength: 3 }), (obstacles) => {
        const place = placeLabel({ width: 90, height: 30 }, obstacles[0]!, obstacles, frame, 10)
        expect(place.x).toBeGreaterThanOrEqual(0)
        expect(place.y).toBeGreaterThanOrEqual(0)
        expect(place.x + place.width).toBeLessThanOrEqual(600)
        expect(place.y + place.height).toBeLessThanOrEqual(400)
        for (const { x, y, width, height } of obstacles) {
          const apart =
            place.x + place.width <= x || x + width <= place.x || place.y + place.height <= y || y + height <= place.y
          expect(apart).toBe(true)
        }
      }),
    )
  })

  test('goes to the nearest free place', () => {
    const object = { x: 200, y: 150, width: 80, height: 80 }
    const place = placeLabel({ width: 90, height: 30 }, object, [object], frame, 10)
    expect(Math.abs(place.x + 45 - 240)).toBeLessThan(100)
    expect(Math.abs(place.y + 15 - 190)).toBeLessThan(80)
  })
})

interface Picture {
  size: { width: number; height: number }
  pixels: Buffer
  at(x: number, y: number): number[]
  count(colour: number[], area: Rect): number
}

async function draw(image: MedicalImage, objects: OverlayObject[], options?: Parameters<typeof drawOverlay>[2]) {
  const png = await drawOverlay(image, objects, options)
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true })
  expect(info.channels).toBe(3)
  const at = (x: number, y: number) => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)]
  const picture: Picture = {
    size: { width: info.width, height: info.height },
    pixels: data,
    at,
    count(colour, area) {
      let count = 0
      for (let y = area.y; y < area.y + area.height; y++) {
        for (let x = area.x; x < area.x + area.width; x++) if (near(at(x, y), colour)) count++
      }
      return count
    },
  }
  return picture
}

function near(a: number[], b: number[]): boolean {
  return a.every((value, i) => Math.abs(value - b[i]!) <= 12)
}

function grayImage(width: number, height: number, gray: number): MedicalImage {
  return { data: new Uint8Array(width * height).fill(gray), width, height, channels: 1 }
}

/** The pixels x0..x1, y0..y1 without those of the hole, outlined as `Mask.toPolygons` does. */
function block(x0: number, y0: number, x1: number, y1: number, hole?: [number, number, number, number]) {
  const ring = (a: number, b: number, c: number, d: number): [number, number][] => [
    [a - 0.5, b - 0.5],
    [c + 0.5, b - 0.5],
    [c + 0.5, d + 0.5],
    [a - 0.5, d + 0.5],
  ]
  return {
    bbox: [x0, y0, x1, y1] as [number, number, number, number],
    toPolygons: () => [{ outer: ring(x0, y0, x1, y1), holes: hole ? [ring(...hole).reverse()] : [] }],
  }
}

test('the window of one intensity is not empty, however great it is', () => {
  for (const value of [0, -3, 1e17, -1e17]) {
    const data = new Float32Array(4).fill(value)
    const [low, high] = automaticWindow({ data, width: 2, height: 2, channels: 1 })
    expect(low).toBe(data[0])
    expect(high).toBeGreaterThan(low)
  }
})
