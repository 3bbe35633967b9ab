import { SegSamError, unexpected } from '../errors.js'
import { joined, type Physical, warningsOfValues } from '../files/numbers.js'
import { type DicomSource, Volume } from '../volume.js'
import { parseDicom } from './dataset.js'
import { type DicomFrame, dicomImage } from './frame.js'
import { type Stack, stackOf } from './stack.js'

/**
 * All frames of a file, ordered by their place in the patient where the file tells it.
 *
 * @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`
 */
export async function readDicom(
  content: Uint8Array,
  name: string,
  { maxVoxels }: { maxVoxels: number },
): Promise<Volume> {
  const image = dicomImage(parseDicom(content, name, maxVoxels), name, maxVoxels)
  const stack = stackOf(image.frames)
  const parts: Physical[] = []
  for (const { source } of stack.frames) parts.push(await image.decode(source.frame - 1))
  return volumeOf(stack, parts, image)
}

/**
 * One frame of a file, in the file's order.
 *
 * @param frame from 0; required where the file has several
 * @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`, `INVALID_ARGUMENT` (frame)
 */
export async function readDicomFrame(
  content: Uint8Array,
  name: string,
  { frame, maxVoxels }: { frame: number | undefined; maxVoxels: number },
): Promise<Volume> {
  const image = dicomImage(parseDicom(content, name, maxVoxels), name, maxVoxels)
  const count = image.frames.length
  if (frame === undefined && count > 1) {
    throw new SegSamError(
      'INVALID_IMAGE',
      `${name} holds ${count} frames. Choose one: readImage(file, { page: 0 }) reads the first.`,
    )
  }
  const chosen = image.frames[frame ?? 0]
  if (!chosen) throw unexpected('INVALID_ARGUMENT', 'page', frame, `0 to ${count - 1}`)
  return volumeOf(stackOf([chosen]), [await image.decode(frame ?? 0)], image)
}

/** @param parts values of the frames, in the order of the stack */
export function volumeOf(
  { frames, affine, warnings }: Stack<DicomFrame>,
  parts: readonly Physical[],
  source: Omit<DicomSource, 'slices'>,
): Volume {
  const [{ columns, rows, channels, unit, modality, inverted }] = frames as [DicomFrame]
  const { studyInstanceUid, seriesInstanceUid, frameOfReferenceUid, header } = source
  return new Volume({
    data: joined(parts.map(({ data }) => data)),
    shape: [columns, rows, frames.length],
    channels,
    affine,
    unit,
    modality,
    window: frames[frames.length >> 1]!.window,
    inverted,
    warnings: [...warnings, ...warningsOfValues(parts)],
    dicom: {
      studyInstanceUid,
      seriesInstanceUid,
      frameOfReferenceUid,
      slices: frames.map(({ source }) => source),
      ...(header && { header }),
    },
  })
}
