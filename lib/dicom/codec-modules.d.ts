declare module '@cornerstonejs/codec-openjpeg/decodewasmjs'
declare module '@cornerstonejs/codec-charls/decodewasmjs'
declare module 'jpeg-lossless-decoder-js' {
  export class Decoder {
    constructor(buffer: ArrayBuffer, bytesPerSample: number)
    decompress(): ArrayBuffer
  }
}
