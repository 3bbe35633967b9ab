declare module 'dcmjs' {
  interface Element {
    vr: string
    Value: unknown[]
  }
  const dcmjs: {
    data: {
      DicomDict: new (
        meta: Record<string, Element>,
      ) => {
        dict: Record<string, Element>
        write(options: { allowInvalidVRLength: boolean }): ArrayBuffer
      }
      DicomMetaDictionary: { denaturalizeDataset(dataset: object): Record<string, Element> }
    }
  }
  export default dcmjs
}
