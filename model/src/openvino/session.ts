import { readFileSync } from 'node:fs';
import koffi, { type LibraryHandle } from 'koffi';
import type { OutputTensor } from '../heads/index.ts';
import { decodeModel } from '../onnx/schema.ts';
import type { Precision, Session } from '../session.ts';

// OpenVINO's C API, called through koffi.
// https://docs.openvino.ai/2026/api/c_cpp_api/group__ov__c__api.html

/** `ov_element_type_e` */
const ELEMENT = { f32: 4, u8: 16 } as const;
const DEVICE = 'CPU';

type Pointer = unknown;
type Call = ReturnType<LibraryHandle['func']>;

export interface OpenvinoOptions {
  /** Paths from `openvinoLibraries`. */
  libraries: readonly string[];
  onnx: string;
  /** Number of threads for one run. */
  threads?: number;
  precision: Precision;
}

/**
 * Loads a model for the calling thread alone.
 * @throws Error with OpenVINO's own message
 */
export function createOpenvinoSession({ libraries, onnx, precision, threads = 1 }: OpenvinoOptions): Session {
  const api = load(libraries);
  const check = (status: number) => {
    if (status !== 0) throw new Error(`OpenVINO: ${String(api.lastError()).replace(/\s+/g, ' ').trim()}`);
  };
  /** Calls a function that returns an object through its last parameter. */
  const make = (call: Call, ...args: unknown[]): Pointer => {
    const out: Pointer[] = [null];
    check(call(...args, out));
    return out[0];
  };
  const core = make(api.createCore);
  const settings = {
    // For a quantised model: its int8 parts stay int8, and the rest is computed in f32.
    INFERENCE_PRECISION_HINT: precision === 'int8' ? 'f32' : precision,
    INFERENCE_NUM_THREADS: String(threads),
    NUM_STREAMS: '1',
    ENABLE_CPU_PINNING: 'NO',
  };
  for (const [name, value] of Object.entries(settings)) {
    check(api.setProperty(core, DEVICE, 'str', name, 'str', value));
  }
  const model = make(api.readModel, core, onnx, null);
  const compiled = make(api.compile, core, model, DEVICE, 0);
  const request = make(api.createRequest, compiled);
  // Names in the file's order. OpenVINO names outputs after the node that computes them.
  const names = decodeModel(readFileSync(onnx)).graph.output.map(({ name }) => name);
  const readOutput = (name: string, index: number): OutputTensor => {
    const tensor = make(api.getOutput, request, index);
    try {
      const type: number[] = [0];
      check(api.tensorType(tensor, type));
      if (type[0] !== ELEMENT.f32) throw new Error(`output ${name} is of type ${type[0]}, not float32`);
      const shape: { rank?: number | bigint; dims?: Pointer } = {};
      check(api.tensorShape(tensor, shape));
      const dims = Array.from(
        koffi.decode(shape.dims, 'int64_t', Number(shape.rank)) as ArrayLike<bigint | number>,
        Number,
      );
      api.freeShape(shape);
      const values = dims.reduce((a, b) => a * b, 1);
      // The memory belongs to the request and is valid until its next run. Decoding ends before that.
      return { name, dims, data: new Float32Array(koffi.view(make(api.tensorData, tensor), 4 * values)) };
    } finally {
      api.freeTensor(tensor);
    }
  };
  return {
    async run(frames, dims) {
      const shape = { rank: BigInt(dims.length), dims: BigInt64Array.from(dims, BigInt) };
      const input = make(api.wrapTensor, ELEMENT.u8, shape, frames);
      try {
        check(api.setInput(request, 0, input));
        check(api.infer(request));
        return names.map(readOutput);
      } finally {
        api.freeTensor(input);
      }
    },
  };
}

function load(libraries: readonly string[]) {
  const [c = '', ...before] = libraries.toReversed();
  // Loaded here by path: the C API would look for them by name in the system's folders only.
  for (const library of before.toReversed()) koffi.load(library, { global: true });
  const library = koffi.load(c);
  const shape = koffi.struct({ rank: 'int64_t', dims: 'int64_t *' });
  const rawShape = koffi.struct({ rank: 'int64_t', dims: 'void *' });
  return {
    lastError: library.func('const char *ov_get_last_err_msg()'),
    createCore: library.func('int ov_core_create(_Out_ void **)'),
    setProperty: library.func('int ov_core_set_property(void *, const char *, ...)'),
    readModel: library.func('int ov_core_read_model(void *, const char *, const char *, _Out_ void **)'),
    compile: library.func('int ov_core_compile_model(void *, void *, const char *, size_t, _Out_ void **)'),
    createRequest: library.func('int ov_compiled_model_create_infer_request(void *, _Out_ void **)'),
    wrapTensor: library.func('ov_tensor_create_from_host_ptr', 'int', [
      'int',
      shape,
      'void *',
      koffi.out(koffi.pointer('void *')),
    ]),
    setInput: library.func('int ov_infer_request_set_input_tensor_by_index(void *, size_t, void *)'),
    infer: library.func('int ov_infer_request_infer(void *)'),
    getOutput: library.func('int ov_infer_request_get_output_tensor_by_index(void *, size_t, _Out_ void **)'),
    tensorType: library.func('int ov_tensor_get_element_type(void *, _Out_ int *)'),
    tensorShape: library.func('ov_tensor_get_shape', 'int', ['void *', koffi.out(koffi.pointer(rawShape))]),
    freeShape: library.func('ov_shape_free', 'int', [koffi.pointer(rawShape)]),
    tensorData: library.func('int ov_tensor_data(void *, _Out_ void **)'),
    freeTensor: library.func('void ov_tensor_free(void *)'),
  };
}
