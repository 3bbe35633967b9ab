import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { readImage, readVolume } from '../lib/index.js'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'
import { type CtSlice, ctSlice, dicomFile } from './volume-files.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const [STUDY, SERIES] = ['1.2.3', '1.2.3.4']
const slices = [3, 0, 2, 1].map(
  (z, i): CtSlice => ({
    instance: i + 1,
    position: [-10, -20, 4 * z],
    values: Int16Array.from({ length: 30 }, (_, at) => 100 * z + at),
  }),
)
const files = new Map(slices.map((slice) => [`1.2.3.5.${slice.instance}`, dicomFile(ctSlice(slice))]))

/** A server that nobody here wrote. */
const orthanc = (() => {
  try {
    return execFileSync('which', ['Orthanc'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
})()

describe.skipIf(!orthanc)('Orthanc', () => {
  let folder: string
  let server: ChildProcess
  let root: string
  const headers = { Authorization: `Basic ${Buffer.from('someone:secret').toString('base64')}` }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'seg-sam-orthanc-'))
    const port = await freePort()
    root = `http://127.0.0.1:${port}/dicom-web`
    const configuration = {
      StorageDirectory: folder,
      IndexDirectory: folder,
      HttpPort: port,
      DicomServerEnabled: false,
      AuthenticationEnabled: true,
      RegisteredUsers: { someone: 'secret' },
      Plugins: ['/usr/share/orthanc/plugins/libOrthancDicomWeb.so'],
    }
    await writeFile(join(folder, 'orthanc.json'), JSON.stringify(configuration))
    server = spawn(orthanc!, [join(folder, 'orthanc.json')], { stdio: 'ignore' })
    await until(async () => (await fetch(`http://127.0.0.1:${port}/system`, { headers })).ok)
    for (const content of files.values()) {
      const body = new Uint8Array(withPatientId(content))
      const stored = await fetch(`http://127.0.0.1:${port}/instances`, { method: 'POST', headers, body })
      expect(stored.status).toBe(200)
    }
  }, 120_000)
  afterAll(async () => {
    server?.kill()
    if (server?.exitCode === null) await new Promise((ended) => server.once('exit', ended))
    await rm(folder, { recursive: true, force: true })
  })

  test('gives a series, ordered by position', async () => {
    const volume = await readVolume(`${root}/studies/${STUDY}/series/${SERIES}`, { headers })
    expect(volume.warnings).toEqual([])
    expect(volume.shape).toEqual([6, 5, 4])
    expect([0, 1, 2, 3].map((z) => volume.slice('z', z).data[7])).toEqual([7, 107, 207, 307])
    expect(volume.spacing).toEqual([0.5, 0.75, 4])
    expect(volume.dicom?.slices.map(({ sopInstanceUid }) => sopInstanceUid)).toEqual(
      [2, 4, 3, 1].map((instance) => `1.2.3.5.${instance}`),
    )
  })

  test('is read by the command line', async () => {
    const address = `${root}/studies/${STUDY}/series/${SERIES}`
    const authorised = ['--header', `Authorization: ${headers.Authorization}`]
    const prompt = ['--slice', '2', '--box', '1,1,4,3', '--json', '--model', bundle]
    const { code, stdout, stderr } = await runProgram([program, 'segment', address, ...authorised, ...prompt])
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expect(JSON.parse(stdout)).toMatchObject({ image: { path: address, width: 6, height: 5, slice: { index: 2 } } })
    expect(stdout + stderr).not.toContain(headers.Authorization)
    const wrong = await runProgram([program, 'segment', address, '--header', 'nothing', ...prompt])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('"name: value"')])
  })

  test('gives one instance', async () => {
    const image = await readImage(`${root}/studies/${STUDY}/series/${SERIES}/instances/1.2.3.5.3`, { headers })
    expect(image).toMatchObject({ width: 6, height: 5 })
    expect(image.data[7]).toBe(207)
  })

  test('refuses who does not authorise, and has no other series', async () => {
    const address = `${root}/studies/${STUDY}/series/${SERIES}`
    await expect(readVolume(address)).rejects.toMatchObject({
      code: 'READ_FAILED',
      message: expect.stringContaining('HTTP 401'),
    })
    await expect(readVolume(`${root}/studies/${STUDY}/series/9.9`, { headers })).rejects.toMatchObject({
      code: 'READ_FAILED',
    })
  })
})

describe('a server', () => {
  const opened: ReturnType<typeof createServer>[] = []
  afterEach(() => {
    for (const server of opened.splice(0)) {
      server.closeAllConnections()
      server.close()
    }
  })
  const listening = async (answer: RequestListener) => {
    const server = createServer(answer)
    opened.push(server)
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/studies/${STUDY}/series/${SERIES}`
  }
  const metadata = JSON.stringify([...files.keys()].map((uid) => ({ '00080018': { vr: 'UI', Value: [uid] } })))
  const serving =
    (instance: RequestListener): RequestListener =>
    (request, response) =>
      request.url!.endsWith('/metadata')
        ? response.setHeader('Content-Type', 'application/dicom+json').end(metadata)
        : instance(request, response)

  test('is asked for the original bytes with the headers given', async () => {
    const asked: unknown[] = []
    const address = await listening(
      serving((request, response) => {
        asked.push(request.headers.authorization)
        response.setHeader('Content-Type', 'multipart/related; type="application/dicom"; boundary=b')
        response.end(multipart(files.get(request.url!.split('/').at(-1)!)!))
      }),
    )
    const volume = await readVolume(new URL(address), { headers: { Authorization: 'Bearer t' } })
    expect(volume.shape).toEqual([6, 5, 4])
    expect(asked).toEqual(['Bearer t', 'Bearer t', 'Bearer t', 'Bearer t'])
  })

  test.each<[string, RequestListener, RegExp]>([
    ['fails', (_, response) => response.writeHead(500).end(), /HTTP 500/],
    ['lists nothing', (_, response) => response.setHeader('Content-Type', 'application/json').end('[]'), /no instance/],
    ['sends no JSON', (_, response) => response.end('<html>'), /cannot be fetched/],
    ['hangs up', (request) => request.socket.destroy(), /cannot be fetched/],
    [
      'sends no multipart',
      serving((_, response) => response.setHeader('Content-Type', 'multipart/related').end('x')),
      /instances\/1\.2\.3\.5\.\d cannot be fetched/,
    ],
  ])('that %s is an error that says so', async (_, answer, message) => {
    const error = readVolume(await listening(answer))
    await expect(error).rejects.toMatchObject({ code: 'READ_FAILED', message: expect.stringMatching(message) })
  })

  test('may not send without end', async () => {
    const address = await listening((_, response) => {
      const chunk = Buffer.alloc(2 ** 20)
      const more = () => response.write(chunk, () => response.writable && more())
      more()
    })
    await expect(readVolume(address, { maxVoxels: 1 })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/more than \d+ bytes/),
    })
  })

  test('can be left', async () => {
    const address = await listening(() => {})
    const controller = new AbortController()
    const volume = readVolume(address, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 50)
    await expect(volume).rejects.toThrow('enough')
  })
})

describe('an address', () => {
  test.each([
    'https://example.org/scan.dcm',
    'https://example.org/dicom-web/studies/1.2/series/3.4?token=hidden',
    'https://me:hidden@example.org/dicom-web/studies/1.2/series/3.4',
  ])('%s is refused', async (address) => {
    const error = await readVolume(address).catch((reason) => reason)
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('studies/UID/series/UID'),
    })
    expect(error.message).not.toContain('hidden')
  })

  test('of a series is no image', async () => {
    await expect(readImage('https://example.org/studies/1.2/series/3.4')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('/instances/'),
    })
  })

  test('takes headers that can be sent, and shows none', async () => {
    const error = await readVolume('http://127.0.0.1:1/studies/1.2/series/3.4', {
      headers: { Authorization: 'hidden\n' + 'x' },
    }).catch((reason) => reason)
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('headers') })
    expect(error.message).not.toContain('hidden')
  })
})

function multipart(content: Buffer): Buffer {
  const head = '--b\r\nContent-Type: application/dicom\r\n\r\n'
  return Buffer.concat([Buffer.from(head), content, Buffer.from('\r\n--b--\r\n')])
}

/** Orthanc files what it stores under the patient. */
function withPatientId(content: Buffer): Buffer {
  const at = content.indexOf('Secret^Patient', 0, 'latin1') + 'Secret^Patient'.length
  const element = Buffer.concat([Buffer.from([0x10, 0, 0x20, 0]), Buffer.from('LO\x02\x00'), Buffer.from('1 ')])
  return Buffer.concat([content.subarray(0, at), element, content.subarray(at)])
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}

async function until(isReady: () => Promise<boolean>): Promise<void> {
  while (!(await isReady().catch(() => false))) await new Promise((later) => setTimeout(later, 100))
}
