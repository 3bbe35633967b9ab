/** The part of ITK that tests ask; the package itself leads to no types under Node. */
declare module '@itk-wasm/image-io' {
  export interface ItkImage {
    imageType: { dimension: number; componentType: string; components: number }
    size: number[]
    /** In mm, LPS, one value a dimension. */
    origin: number[]
    spacing: number[]
    /** Row by row; its columns are the unit vectors of the voxel axes. */
    direction: Float64Array
    data: ArrayLike<number>
  }
  export function readImageNode(path: string): Promise<ItkImage>
  export function writeImageNode(image: ItkImage, path: string, options: { useCompression?: boolean }): Promise<void>
}
