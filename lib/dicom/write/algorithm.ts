import type { VolumeSegmentation } from '../../volume/segmentation.js'
import { codeItem } from './codes.js'
import type { Dataset } from './encode.js'
import { text } from './values.js'

/** What made the segments: Algorithm Identification (PS3.3 10.16). The hash tells bundles of one version apart. */
export function algorithmItem({ name, version, hash }: VolumeSegmentation['model']): Dataset {
  return {
    AlgorithmFamilyCodeSequence: [codeItem(['DCM', '123110', 'Artificial Intelligence'])],
    AlgorithmName: text(name, 64),
    AlgorithmVersion: text(version, 64),
    AlgorithmParameters: text(`bundle sha256=${hash}`, 10240),
  }
}
