declare module 'node-gyp-build' {
  export default function nodeGypBuild(directory: string): unknown
}
