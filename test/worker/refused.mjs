import { parentPort } from 'node:worker_threads'
import { addon } from '../../dist/addon.js'

const { Model } = addon()
parentPort.postMessage('started')
for (;;) {
  try {
    new Model()
  } catch {
    // Refused: only the addon makes models.
  }
}
