/**
 * A server for many callers: node examples/serve.mjs [port]
 *
 *   curl --data-binary @examples/images/mni152_axial_z8.png 'localhost:8080/segment?box=83,87,105,117'
 *   curl localhost:8080/stats
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { readImage, SegSam, SegSamError } from 'seg-sam'

const STATUS = { QUEUE_FULL: 503, DEADLINE_EXCEEDED: 504, OUT_OF_MEMORY: 503, RUNTIME: 500, DISPOSED: 503 }

const model = await SegSam.load(fileURLToPath(new URL('../models/seg-sam-tiny', import.meta.url)), {
  maxQueue: 256,
  sceneCacheBytes: 256 * 2 ** 20,
})

async function segment(request, { searchParams }, signal) {
  const options = { timeout: 30_000, signal }
  const scene = await model.encode(await readImage(await buffer(request)), options)
  try {
    const box = (searchParams.get('box') ?? '').split(',').map(Number)
    const [hit] = await scene.segment([{ box }], { ...options, multimask: false })
    return { label: hit.label, predictedIou: hit.predictedIou, mask: hit.mask.toRLE() }
  } finally {
    scene.dispose()
  }
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost')
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const reply = (status, body) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  try {
    if (url.pathname === '/stats') reply(200, model.stats())
    else if (url.pathname === '/segment' && request.method === 'POST')
      reply(200, await segment(request, url, gone.signal))
    else reply(404, { message: 'POST an image to /segment?box=x0,y0,x1,y1, or GET /stats' })
  } catch (error) {
    if (!(error instanceof SegSamError)) return reply(500, { message: 'The server failed' })
    reply(STATUS[error.code] ?? 400, { code: error.code, message: error.message })
  }
})
server.listen(Number(process.argv[2] ?? 8080))
await once(server, 'listening')
console.log(`Listening on port ${server.address().port}`)
