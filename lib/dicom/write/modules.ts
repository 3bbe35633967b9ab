import { SegSamError } from '../../errors.js'
import type { VolumeSegmentation } from '../../volume/segmentation.js'
import { HEADER, type HeaderKeyword, StudyHeader } from '../study-header.js'
import { decoded } from './charset.js'
import type { CopiedElements, Dataset } from './encode.js'
import type { SourceImages } from './source.js'
import { newUid } from './uid.js'
import { dateAndTime, text } from './values.js'

/** Of type 2: they are there without a value where it is not known, or not to be told. */
const REQUIRED = [
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyDate',
  'StudyTime',
  'StudyID',
  'AccessionNumber',
  'ReferringPhysicianName',
] as const satisfies readonly HeaderKeyword[]

/**
 * The patient and study modules, with the values of the source or without any.
 *
 * @throws SegSamError `INVALID_ARGUMENT`, `UNSUPPORTED_FORMAT`
 */
export function patientAndStudy({ header }: SourceImages, keepPatient: boolean): CopiedElements {
  const elements: Record<string, { vr: string; Value: string[] }> = {}
  const put = (keyword: HeaderKeyword, values: string[]) => {
    const { tag, vr } = HEADER[keyword]
    elements[tag.slice(1).toUpperCase()] = { vr, Value: values }
  }
  for (const keyword of REQUIRED) put(keyword, [])
  if (!keepPatient) return elements
  if (!header) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'keepPatient is true, but volume.dicom.header is missing; allowed: a volume as readVolume gives it. Leave the option out.',
    )
  }
  const { values, characterSets } = StudyHeader.read(header)
  for (const [keyword, bytes] of values) put(keyword, decoded(bytes, characterSets).split('\\'))
  return elements
}

/** SOP common, general series, and what of the equipment every file has. */
export function commonModules(
  { model }: VolumeSegmentation,
  source: SourceImages,
  file: { sopClass: string; modality: string; seriesNumber: number; now: Date },
) {
  const { date, time } = dateAndTime(file.now)
  return {
    SOPClassUID: file.sopClass,
    SOPInstanceUID: newUid(),
    InstanceCreationDate: date,
    InstanceCreationTime: time,
    Modality: file.modality,
    StudyInstanceUID: source.studyInstanceUid,
    SeriesInstanceUID: newUid(),
    SeriesNumber: String(file.seriesNumber),
    SeriesDate: date,
    SeriesTime: time,
    InstanceNumber: '1',
    Manufacturer: 'SEG-SAM for Node.js',
    ManufacturerModelName: text(model.name, 64),
    DeviceSerialNumber: text(model.hash, 64),
    SoftwareVersions: text(model.version, 64),
  } satisfies Dataset
}
