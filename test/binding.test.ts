import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as Binding from '../binding.js'
import { type Addon, addon } from '../lib/addon.js'
import { bundle, discImage } from './fixture.js'

/*
 * binding.d.ts is parsed and held against the addon that was built: names, kinds, constructors, arguments needed,
 * the properties read of every argument object, and the properties of every result.
 */

const declarations = ts.createSourceFile(
  'binding.d.ts',
  readFileSync(new URL('../binding.d.ts', import.meta.url), 'utf8'),
  ts.ScriptTarget.Latest,
  true,
)

const declared = {
  constants: new Set<string>(),
  functions: new Map<string, ts.FunctionDeclaration>(),
  classes: new Map<string, ts.ClassDeclaration>(),
  interfaces: new Map<string, ts.InterfaceDeclaration>(),
}
for (const statement of declarations.statements) {
  if (ts.isVariableStatement(statement)) {
    for (const { name } of statement.declarationList.declarations) declared.constants.add(name.getText())
  } else if (ts.isFunctionDeclaration(statement)) declared.functions.set(statement.name!.text, statement)
  else if (ts.isClassDeclaration(statement)) declared.classes.set(statement.name!.text, statement)
  else if (ts.isInterfaceDeclaration(statement)) declared.interfaces.set(statement.name.text, statement)
  else throw new Error(`binding.d.ts holds a statement that this test does not know: ${statement.getText()}`)
}

const native = addon()
const mask = Uint8Array.of(0, 1, 1, 0)

/** A valid call of every function. TypeScript holds the arguments against binding.d.ts. */
const functionCalls: { [K in FunctionName]: Parameters<Addon[K]> } = {
  setErrorClass: [(await import('../lib/errors.js')).SegSamError as new (code: string, message: string) => Error],
  runtimeInfo: [],
  counters: [],
  stop: [],
  maskStats: [mask, 2, 2],
  connectedComponents: [mask, 2, 2, 8],
  fillHoles: [mask, 2, 2, 0],
  newBytes: [4],
  encodeRle: [mask, 2, 2],
  decodeRle: [Uint32Array.of(1, 2, 1), 2, 2],
  compressRle: [Uint32Array.of(1, 2, 1)],
  decompressRle: ['121'],
  maskPolygons: [mask, 2, 2],
  maskIou: [mask, mask],
  upscaledArea: [new Float32Array(4), 2, 3, 3, 4, 'longest', 0],
  upscaleLogits: [new Float32Array(4), 2, 3, 3, 4, 'longest'],
}

type FunctionName = {
  [K in keyof Addon]: Addon[K] extends (...args: never[]) => unknown ? K : never
}[keyof Addon]

const manifest = JSON.parse(readFileSync(join(bundle, 'manifest.json'), 'utf8'))
const reads = new Map<string, Set<string>>()
const files = recorded<Binding.ModelFiles>('ModelFiles', {
  encoder: join(bundle, 'encoder.pt'),
  decoder: join(bundle, 'decoder.pt'),
  textEncoder: join(bundle, 'text_encoder.pt'),
})
const options = recorded<Binding.ModelOptions>('ModelOptions', {
  device: 'cpu',
  precision: 'fp32',
  imageSize: manifest.image_size,
  resizeMode: manifest.resize_mode,
  pixelMean: manifest.pixel_mean,
  pixelStd: manifest.pixel_std,
  maskSize: manifest.mask_size,
  textWidth: manifest.text_width,
  namesObjects: true,
  maxQueue: null,
  maxEncodeBatch: 1,
  maxDecodeBatch: 1,
})

let model: Binding.Model
let classes: Binding.ClassSet
let scene: Binding.Scene
let decoded: Binding.Decoded
let embedding: Float32Array
let features: Binding.SceneFeatures

beforeAll(async () => {
  model = await native.Model.load(files, options)
  embedding = await model.embedText(...calls.Model.embedText())
  classes = await model.prepareClasses(...calls.Model.prepareClasses())
  ;[scene] = (await model.encode(...calls.Model.encode())) as [Binding.Scene]
  decoded = await scene.decode(...calls.Scene.decode())
  features = await scene.features()
  ;(await model.restore(...calls.Model.restore())).dispose()
})
afterAll(() => model.dispose())

function schedule(): Binding.Schedule {
  return recorded<Binding.Schedule>('Schedule', { priority: 'interactive', timeout: null, limited: true })
}

/** A valid call of every method. */
const calls = {
  Model: {
    embedText: (): Parameters<Binding.Model['embedText']> => [
      new BigInt64Array(manifest.text_length),
      new BigInt64Array(manifest.text_length).fill(1n),
      1,
      manifest.text_length,
    ],
    prepareClasses: (): Parameters<Binding.Model['prepareClasses']> => [embedding, Int32Array.of(1)],
    encode: (): Parameters<Binding.Model['encode']> => [
      [recorded<Binding.ImageView>('ImageView', { ...discImage(40, 30), window: null, borrow: false })],
      schedule(),
    ],
    restore: (): Parameters<Binding.Model['restore']> => [recorded<Binding.SceneFeatures>('SceneFeatures', features)],
    stats: (): [] => [],
    dispose: (): [] => [],
  },
  Scene: {
    decode: (): Parameters<Binding.Scene['decode']> => [
      recorded<Binding.PromptBatch>('PromptBatch', {
        count: 1,
        pointsPerPrompt: 2,
        points: Float32Array.of(5, 5, 20, 20),
        labels: Int32Array.of(2, 3),
        masks: null,
      }),
      classes,
      recorded<Binding.DecodeOptions>('DecodeOptions', { multimask: false, threshold: 0, out: null }),
      schedule(),
    ],
    features: (): [] => [],
    share: (): [] => [],
    dispose: (): [] => [],
  },
  ClassSet: { dispose: (): [] => [] },
  Cancellation: { cancel: (): [boolean] => [false] },
  Logits: { slice: (): [number, number] => [1, 3] },
  MaskBits: {
    expand: (): [number, Uint8Array] => [0, new Uint8Array(scene.width * scene.height)],
    stats: (): [number] => [0],
    rle: (): [number] => [0],
    polygons: (): [number] => [0],
  },
}

/** Notes which properties the addon reads. */
function recorded<T extends object>(name: string, target: T): T {
  const seen = reads.get(name) ?? new Set()
  reads.set(name, seen)
  return new Proxy(target, {
    get(object, key, receiver) {
      if (typeof key === 'string') seen.add(key)
      return Reflect.get(object, key, receiver)
    },
  })
}

describe('the addon has what binding.d.ts declares, and nothing else', () => {
  it('exports', () => {
    const names = [...declared.constants, ...declared.functions.keys(), ...declared.classes.keys()]
    expect(Object.keys(native).toSorted()).toEqual(names.toSorted())
    for (const name of declared.constants) expect(typeof native[name as keyof Addon], name).toBe('number')
    for (const name of declared.functions.keys()) {
      expect(typeof native[name as keyof Addon], name).toBe('function')
      expect(Object.keys(functionCalls)).toContain(name)
    }
  })

  for (const [name, declaration] of declared.classes) {
    it(`members of ${name}`, () => {
      const built = native[name as keyof Addon] as unknown as new () => object
      expect(membersOf(built.prototype)).toEqual(declaredMembers(declaration, false))
      expect(membersOf(built)).toEqual(declaredMembers(declaration, true))
    })

    it(`constructor of ${name}`, () => {
      const declaredConstructor = declaration.members.find(ts.isConstructorDeclaration)!
      const isPrivate = declaredConstructor.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)
      const construct = () => new (native[name as keyof Addon] as unknown as new () => object)()
      if (isPrivate) expect(construct).toThrow()
      else expect(construct).not.toThrow()
    })
  }
})

describe('every declared argument is needed', () => {
  for (const [name, declaration] of declared.functions) {
    // It would be the last: nothing is computed afterwards.
    if (name === 'stop') continue
    const call = functionCalls[name as FunctionName] as unknown[]
    const run = (...args: unknown[]) => (native[name as FunctionName] as (...args: unknown[]) => unknown)(...args)
    it(`of ${name}`, () => {
      expect(call).toHaveLength(requiredOf(declaration))
      expect(() => run(...call)).not.toThrow()
      if (call.length) {
        expect(() => run(...call.slice(0, -1))).toThrow(expect.objectContaining({ code: expect.any(String) }))
      }
    })
  }

  for (const [name, declaration] of declared.classes) {
    for (const method of declaration.members.filter(ts.isMethodDeclaration)) {
      if (isStatic(method)) continue
      const methodName = method.name.getText()
      it(`of ${name}.${methodName}`, async () => {
        const ofClass = calls[name as keyof typeof calls] as Record<string, () => unknown[]>
        const call = ofClass[methodName]!()
        expect(call).toHaveLength(requiredOf(method))
        if (!call.length) return
        const { logits, masks } = decoded
        const cancellation = new native.Cancellation()
        const targets = { Model: model, Scene: scene, Cancellation: cancellation, Logits: logits, MaskBits: masks }
        const target = targets[name as keyof typeof targets] as unknown as Record<string, (...a: unknown[]) => unknown>
        const run = async (...args: unknown[]) => target[methodName]!(...args)
        await run(...call)
        await expect(run(...call.slice(0, -1))).rejects.toMatchObject({ code: expect.any(String) })
      })
    }
  }

  it('of Model.load', async () => {
    await expect((native.Model.load as (...args: unknown[]) => unknown)(files)).rejects.toMatchObject({
      code: expect.any(String),
    })
    const load = declared.classes.get('Model')!.members.filter(ts.isMethodDeclaration).find(isStatic)!
    expect(requiredOf(load)).toBe(2)
  })
})

describe('parts of a result', () => {
  it('lie within it, and fit where they are written', () => {
    const { masks, logits } = decoded
    const pixels = scene.width * scene.height
    const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
    const target = new Uint8Array(pixels).fill(9)
    masks.expand(0, target)
    expect(Math.max(...target)).toBeLessThanOrEqual(1)
    for (const index of [-1, 1, 0.5]) {
      expect(() => masks.expand(index, target)).toThrow(invalid)
      for (const name of ['stats', 'rle', 'polygons'] as const) expect(() => masks[name](index)).toThrow(invalid)
    }
    for (const length of [0, pixels - 1, pixels + 1]) {
      expect(() => masks.expand(0, new Uint8Array(length))).toThrow(invalid)
    }
    for (const [begin, end] of [
      [-1, 1],
      [1, 0],
      [0, 1e9],
    ] as const) {
      expect(() => logits.slice(begin, end)).toThrow(invalid)
    }
  })
})

describe('new bytes', () => {
  it('are zeros, at the beginning of a page where they are many', () => {
    for (const length of [0, 1, 2 ** 22 - 1, 2 ** 22, 2 ** 22 + 1, 3 * 2 ** 21]) {
      const bytes = native.newBytes(length)
      expect(bytes).toHaveLength(length)
      expect(bytes.every((value) => value === 0)).toBe(true)
      expect(bytes.buffer.byteLength).toBeLessThanOrEqual(length + (length < 2 ** 22 ? 0 : 2 ** 22))
      expect(bytes.byteOffset).toBeLessThan(2 ** 21)
    }
    expect(() => native.newBytes(-1)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(() => native.newBytes(2 ** 40)).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }))
  })
})

describe('argument objects are read as declared', () => {
  for (const name of [
    'ModelFiles',
    'ModelOptions',
    'ImageView',
    'PromptBatch',
    'DecodeOptions',
    'Schedule',
    'SceneFeatures',
  ]) {
    it(name, () => {
      expect([...reads.get(name)!].toSorted()).toEqual(
        propertiesOf(name)
          .map(([key]) => key)
          .toSorted(),
      )
    })
  }
})

describe('results have the declared form', () => {
  it('RuntimeInfo', () => conforms(native.runtimeInfo(), 'RuntimeInfo'))
  it('Decoded', () => conforms(decoded, 'Decoded'))
  it('SceneFeatures', () => conforms(features, 'SceneFeatures'))
  it('ModelStats', () => {
    const stats = model.stats()
    conforms(stats, 'ModelStats')
    conforms(stats.decode, 'RunStats')
    conforms(stats.decode.run, 'Times')
  })
  it('counters', () => {
    const type = declared.functions.get('counters')!.type as ts.TypeLiteralNode
    expect(Object.keys(native.counters()).toSorted()).toEqual(
      type.members.map((member) => member.name!.getText()).toSorted(),
    )
  })
  it('MaskStats', () => conforms(native.maskStats(mask, 2, 2), 'MaskStats'))
  it('MaskRing', () => conforms(native.maskPolygons(mask, 2, 2)[0]!, 'MaskRing'))
  it('Component', () => conforms(native.connectedComponents(mask, 2, 2, 4).components[0]!, 'Component'))
})

function isStatic(member: ts.ClassElement): boolean {
  return (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Static) !== 0
}

/** Name to kind, as declared. */
function declaredMembers(declaration: ts.ClassDeclaration, ofClass: boolean): Record<string, string> {
  const members = declaration.members.filter((member) => !ts.isConstructorDeclaration(member))
  return Object.fromEntries(
    members
      .filter((member) => isStatic(member) === ofClass)
      .map((member) => [member.name!.getText(), ts.isMethodDeclaration(member) ? 'method' : 'property'])
      .toSorted(),
  )
}

/** Name to kind, as built. */
function membersOf(target: object): Record<string, string> {
  const builtIn = ['constructor', 'length', 'name', 'prototype', 'arguments', 'caller']
  return Object.fromEntries(
    Object.entries(Object.getOwnPropertyDescriptors(target))
      .filter(([name]) => !builtIn.includes(name))
      .map(([name, { value }]) => [name, typeof value === 'function' ? 'method' : 'property'])
      .toSorted(),
  )
}

function requiredOf({ parameters }: ts.FunctionDeclaration | ts.MethodDeclaration): number {
  return parameters.filter(({ questionToken }) => !questionToken).length
}

function propertiesOf(name: string): [key: string, type: string][] {
  return declared.interfaces
    .get(name)!
    .members.map((member) => [member.name!.getText(), (member as ts.PropertySignature).type!.getText()])
}

function conforms(value: object, name: string) {
  const properties = propertiesOf(name)
  expect(Object.keys(value).toSorted()).toEqual(properties.map(([key]) => key).toSorted())
  for (const [key, type] of properties) {
    const actual = value[key as keyof typeof value] as unknown
    if (/\[\]$|^\[/.test(type)) expect(Array.isArray(actual), key).toBe(true)
    else if (/Array$/.test(type)) expect((actual as object).constructor.name, key).toBe(type)
    else expect(typeof actual, key).toBe(/^[a-z]+$/.test(type) ? type : 'object')
  }
}
