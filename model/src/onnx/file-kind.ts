const EXPORT =
  'export the model as ONNX, for example with `yolo export model=... format=onnx` or torch.onnx.export';

/** Files that are given by mistake, by their first bytes in Latin-1, and what to do about each. */
const KINDS: readonly [RegExp, string][] = [
  [/^$/, 'it is empty: copy it again'],
  [/^version https:\/\/git-lfs/, 'it is a pointer of Git LFS: fetch the file itself with `git lfs pull`'],
  [/^\s*<(!doctype|html)/i, 'it is a web page: download the file itself'],
  [/^\s*<\?xml/, "it is XML, as OpenVINO's models are: give the ONNX file that it was made from"],
  [
    /^PK../s,
    `it is a ZIP archive, as PyTorch's .pt files are: ${EXPORT}; unpack an ONNX file that was zipped`,
  ],
  [/^\x80./s, `it is a pickle, as PyTorch's .pt files are: ${EXPORT}`],
  [/^.\x8b/s, 'it is compressed with gzip: unpack it with `gunzip`'],
  [/^[fp]trt|^.{4}\{"/s, 'it is a TensorRT engine: give the ONNX file that it was built from'],
  [/^.{4}ORTM/s, 'it is in the format ORT: give the ONNX file that it was made from'],
  [/^.{4}TFL3/s, 'it is TensorFlow Lite: convert it with `python -m tf2onnx.convert --tflite`'],
  [/^.HDF/s, "it is HDF5, as Keras's models are: convert it with tf2onnx"],
  [/^.{8}\{/s, `it is safetensors, weights without a graph: ${EXPORT}`],
];

/** @returns what a file is that is no ONNX, and what to do; `undefined` if its first bytes are of no known kind */
export function foreignKind(file: Buffer): string | undefined {
  const start = file.toString('latin1', 0, 64);
  return KINDS.find(([signature]) => signature.test(start))?.[1];
}
