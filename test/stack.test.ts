import { expect, test } from 'vitest'
import type { DicomFrame } from '../lib/dicom/frame.js'
import { stackOf } from '../lib/dicom/stack.js'

function frameAt(z: number): DicomFrame {
  return {
    geometry: {
      plane: { position: [0, 0, z], right: [1, 0, 0], down: [0, 1, 0] },
      pixelSpacing: [1, 1],
      thickness: 1,
      betweenSlices: null,
    },
    columns: 1,
    rows: 1,
    channels: 1,
    inverted: false,
    modality: null,
    unit: null,
    instance: 0,
    window: null,
    source: { sopClassUid: null, sopInstanceUid: null, frame: 1, position: [0, 0, z] },
  }
}

test('very many slices are stacked, and their gap is found', () => {
  const frames = Array.from({ length: 150_000 }, (_, z) => frameAt(z === 149_999 ? z + 9 : z))
  const { frames: stacked, warnings } = stackOf(frames)
  expect(stacked).toHaveLength(150_000)
  expect(warnings.map(({ code }) => code)).toEqual(['UNEVEN_SPACING'])
})
