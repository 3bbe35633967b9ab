import { expectTypeOf, test } from 'vitest'
import type { ClassCard, Hit, MedicalImage, Prompt, Rle, Scene, SegSamError, UncompressedRle } from '../lib/index.js'
import { Mask, SegSam, Session } from '../lib/index.js'

declare const model: SegSam
declare const scene: Scene
declare const image: MedicalImage
declare const hit: Hit

test('every kind of prompt compiles', () => {
  const prompts: Prompt[] = [
    { points: [{ x: 1, y: 2 }] },
    { points: [{ x: 1, y: 2, label: 0 }] },
    { box: [1, 2, 3, 4] },
    { box: [1, 2, 3, 4], points: [{ x: 1, y: 2, label: 1 }] },
    { mask: hit.logits },
    { box: [1, 2, 3, 4], mask: hit.logits },
    { points: [{ x: 1, y: 2 }], mask: hit.logits },
  ]
  expectTypeOf(scene.segment(prompts)).resolves.toEqualTypeOf<Hit[]>()
})

test('an impossible prompt does not', () => {
  // @ts-expect-error nothing is meant
  scene.segment([{}])
  // @ts-expect-error a box has four numbers
  scene.segment([{ box: [1, 2, 3] }])
  // @ts-expect-error boxes are numbers
  scene.segment([{ box: ['1', '2', '3', '4'] }])
  // @ts-expect-error a box is not an object
  scene.segment([{ box: { x0: 1, y0: 2, x1: 3, y1: 4 } }])
  // @ts-expect-error labels are 0 and 1
  scene.segment([{ points: [{ x: 1, y: 2, label: 2 }] }])
  // @ts-expect-error a point has x and y
  scene.segment([{ points: [{ x: 1 }] }])
  // @ts-expect-error points are a list
  scene.segment([{ points: { x: 1, y: 2 } }])
  // @ts-expect-error logits are meant, not a binary mask
  scene.segment([{ mask: hit.mask }])
  // @ts-expect-error one box a prompt
  scene.segment([{ boxes: [[1, 2, 3, 4]] }])
  // @ts-expect-error a list of prompts
  scene.segment({ box: [1, 2, 3, 4] })
})

test('options are closed', () => {
  // @ts-expect-error SAM's word is multimask
  scene.segment([{ box: [1, 2, 3, 4] }], { multiMask: true })
  // @ts-expect-error a card needs something that describes the class
  scene.segment([{ box: [1, 2, 3, 4] }], { classes: [{ id: 'a', name: 'A' }] })
  scene.segment([{ box: [1, 2, 3, 4] }], { classes: ['liver', { id: 'a', name: 'A', description: 'Round.' }] })
  scene.segment([{ box: [1, 2, 3, 4] }], { classes: [...model.classes, { id: 'a', name: 'A', sentences: ['Round.'] }] })
  // @ts-expect-error a window has two ends
  model.encode(image, { window: [1] })
})

test('a model is loaded on one device or on several', () => {
  expectTypeOf(SegSam.load('bundle', { device: 'cuda:1' })).resolves.toEqualTypeOf<SegSam>()
  expectTypeOf(SegSam.load('bundle', { device: ['cuda:0', 'cuda:1'] })).resolves.toEqualTypeOf<SegSam>()
  // @ts-expect-error no such device
  SegSam.load('bundle', { device: ['gpu'] })
})

test('one image gives one scene, several give several', () => {
  expectTypeOf(model.encode(image)).resolves.toEqualTypeOf<Scene>()
  expectTypeOf(model.encode([image])).resolves.toEqualTypeOf<Scene[]>()
})

test('run lengths are a string unless asked for', () => {
  const mask = new Mask(1, 1, new Uint8Array(1))
  expectTypeOf(mask.toRLE()).toEqualTypeOf<Rle>()
  expectTypeOf(mask.toRLE({ compressed: false })).toEqualTypeOf<UncompressedRle>()
})

test('a hit without a name must be expected', () => {
  // @ts-expect-error label may be null
  hit.label.name
  // @ts-expect-error and so may the semantic mask
  hit.semanticMask.area
  expectTypeOf(hit.labelReason).toEqualTypeOf<'nothing' | 'untrained' | null>()
})

test('a session gives no hit only where nothing may be marked', () => {
  const session = scene.session({ classes: ['liver'] })
  expectTypeOf(session).toEqualTypeOf<Session>()
  expectTypeOf(session.addPoint({ x: 1, y: 2 })).resolves.toEqualTypeOf<Hit>()
  expectTypeOf(session.removePoint(0)).resolves.toEqualTypeOf<Hit | null>()
  expectTypeOf(session.undo()).resolves.toEqualTypeOf<Hit | null>()
  expectTypeOf(session.hit).toEqualTypeOf<Hit | null>()
  expectTypeOf(Session.replay(scene, session.log)).resolves.toEqualTypeOf<Session>()
  session.setLasso(new Mask(1, 1, new Uint8Array(1)).toPolygons()[0]!.outer)
  // @ts-expect-error a path is a list of pairs
  session.addScribble({ path: [{ x: 1, y: 2 }] })
  // @ts-expect-error multimask follows from the marks
  scene.session({ multimask: true })
})

test('a class is defined by a card', () => {
  expectTypeOf(model.defineClass({ id: 'a', name: 'A', description: 'Round.' })).resolves.toEqualTypeOf<ClassCard>()
  model.defineClass({ id: 'a', name: 'A', sentences: ['Round.'] }, { replace: true })
  // @ts-expect-error it needs a text
  model.defineClass({ id: 'a', name: 'A' })
})

test('error codes are a closed union', () => {
  expectTypeOf<SegSamError['code']>().not.toEqualTypeOf<string>()
  expectTypeOf<'DISPOSED'>().toExtend<SegSamError['code']>()
})
