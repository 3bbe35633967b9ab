export { type Device, type Precision, type RuntimeInfo, runtimeInfo } from './addon.js'
export { type BundleFile, type BundleReport, inspectBundle, type Manifest } from './bundle.js'
export type { CallOptions } from './call.js'
export type { ClassCard, ClassCode, NewClassCard } from './classes.js'
export { listSeries, type Series } from './dicom/series.js'
export type { StudyHeader } from './dicom/study-header.js'
export { type RTStructOptions, toRTStruct } from './dicom/write/rtstruct.js'
export { toDicomSeg } from './dicom/write/seg.js'
export type { DicomSegOptions } from './dicom/write/seg-options.js'
export { SegSamError, type SegSamErrorCode } from './errors.js'
export { FoundObject } from './everything/found-object.js'
export type { EverythingOptions } from './everything/options.js'
export type { PresenceOptions } from './everything/presence.js'
export type { FileInput, FileStream } from './files/content.js'
export { type ReadVolumeOptions, readVolume } from './files/read-volume.js'
export { type MedicalImage, type PixelData, type ReadImageOptions, readImage } from './image.js'
export {
  type ImageObject,
  type ImageSegmentation,
  type ObjectDescription,
  objectsOfHits,
  objectsOfLabelMap,
} from './image-segmentation.js'
export type { LabelMapOptions } from './label-map/options.js'
export type { RegionRules, RegionRulesByClass } from './label-map/regions.js'
export { type LabelledClass, type LabelledInstance, LabelMap } from './label-map.js'
export type { Marks } from './marks.js'
export {
  type BoundingBox,
  type Component,
  Mask,
  type Polygon,
  type Ring,
  type Rle,
  type UncompressedRle,
} from './mask.js'
export { toCSV } from './measure/csv.js'
export type { Intensity } from './measure/intensity.js'
export { type MeasureOptions, measure, type SegmentAxes, type SegmentMeasurement } from './measure/measure.js'
export { measureObjects, type ObjectAxes, type ObjectMeasurement } from './measure/measure-objects.js'
export {
  type DefineClassOptions,
  type EncodeOptions,
  type FromPixels,
  type LoadOptions,
  type ModelInfo,
  SegSam,
} from './model.js'
export { PRESENCE_THRESHOLD } from './naming.js'
export { drawOverlay, type OverlayObject, type OverlayOptions } from './overlay.js'
export { defaultBundle } from './package-root.js'
export type { Box, BoxPrompt, MaskLogits, MaskPrompt, Point, PointPrompt, Prompt } from './prompts.js'
export {
  type Hit,
  type Label,
  type MaskProposal,
  type PresentClasses,
  Scene,
  type SegmentOptions,
} from './scene.js'
export type { SceneCacheStats } from './scene-cache.js'
export type { Path, Scribble } from './scribble.js'
export { Session, type SessionOptions, type StepOptions } from './session.js'
export type { SessionLog, SessionStep } from './session-log.js'
export type { DeviceStats, PassStats, Stats, Times, WorkStats } from './stats.js'
export type { Affine, Vector } from './volume/affine.js'
export type { Axis, SlicePlane } from './volume/axes.js'
export {
  segmentationOfHits,
  segmentationOfLabelMap,
  type VolumeSegment,
  type VolumeSegmentation,
} from './volume/segmentation.js'
export { type SliceMask, type SliceValues, VoxelMask } from './volume/voxel-mask.js'
export {
  type DicomSlice,
  type DicomSource,
  type SliceOptions,
  Volume,
  type VolumeContent,
  type VolumeSlice,
  type VolumeWarning,
  type VolumeWarningCode,
  type VoxelData,
} from './volume.js'
export type { LabelStep, LabelVolumeOptions } from './volume-label-map/options.js'
export { type VolumeClass, VolumeLabelMap } from './volume-label-map.js'
export type { FollowStep } from './volume-objects/follow.js'
export type { FollowedSlice } from './volume-objects/followed-slice.js'
export type { CorrectOptions, FollowRules, SegmentVolumeOptions } from './volume-objects/options.js'
export type { Stop, StopReason } from './volume-objects/stop.js'
export type { AbsentMark, VolumePrompt } from './volume-objects/volume-prompts.js'
export { type VolumeObject, VolumeObjects } from './volume-objects.js'
export {
  type AppliedWindow,
  type IntensityWindow,
  WINDOW_PRESETS,
  type WindowChoice,
  type WindowPreset,
} from './window.js'
export { type CocoAnnotation, type CocoCategory, type CocoDataset, type CocoOptions, toCOCO } from './write/coco.js'
export { type GeoJson, type GeoJsonFeature, toGeoJSON } from './write/geojson.js'
export { type LabelEntry, type LabelTable, labelTable, toITKSnapLabels } from './write/label-table.js'
export { type NiftiWriteOptions, toNIfTI } from './write/nifti.js'
export { toSegNRRD } from './write/nrrd.js'
export { toSVG } from './write/svg.js'
