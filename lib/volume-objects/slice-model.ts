import type { Call } from '../call.js'
import type { Prompt } from '../prompts.js'
import type { Hit, SegmentOptions } from '../scene.js'
import type { VolumeSlice } from '../volume.js'

/** What encodes the slices of a volume: a model. All jobs of a volume are jobs of one call. */
export interface SliceModel<Scene> {
  encode(slice: VolumeSlice, call: Call): Promise<Scene>
}

/** An encoded slice, as far as following objects needs it. */
export interface SliceScene {
  segment(
    prompts: readonly Prompt[],
    options: Pick<SegmentOptions, 'multimask' | 'threshold' | 'classes'>,
    call: Call,
  ): Promise<Hit[]>
  dispose(): void
}
