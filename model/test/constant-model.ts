import { writeFile } from 'node:fs/promises';
import { GraphBuilder, type Size } from '../src/onnx/graph-builder.ts';
import { DataType } from '../src/onnx/schema.ts';

/** One output, whatever the model is shown. */
export interface ConstantOutput {
  name: string;
  values: Float32Array;
  dims: readonly number[];
  /** As the file declares it; the true one without it. */
  declared?: readonly Size[];
  type?: 'float32' | 'float16';
  /** Boxes, multiplied by what the input `sizes` states. */
  isScaled?: boolean;
}

export interface ConstantModel {
  outputs: readonly ConstantOutput[];
  metadata?: Record<string, string>;
  /** Name of a second input, `[N, 2]` of int64: width and height. */
  sizes?: string;
  /** Sizes of a second input `pixel_mask` of int64. The outputs are multiplied by the mean of its values. */
  mask?: readonly Size[];
  /** The only sizes that it runs at, whatever its input declares. */
  only?: readonly number[];
  input?: { name?: string; type?: 'float32' | 'float64' | 'uint8' | 'int64'; shape?: readonly Size[] };
}

/** Writes a model that always gives the same answer, so that its right reading is known. */
export async function writeConstantModel(path: string, model: ConstantModel): Promise<string> {
  const { name = 'images', type = 'float32', shape = [1, 3, 160, 160] } = model.input ?? {};
  const g = new GraphBuilder();
  const given = g.node('Cast', [g.input(name, type, shape)], { to: DataType.float32 });
  const pixels = model.only ? g.node('Reshape', [given, g.constant(model.only)]) : given;
  // The input is used, and changes nothing.
  const nothing = g.node('Mul', [g.node('ReduceMean', [pixels], { keepdims: 0 }), g.scalar(0)]);
  const two =
    model.sizes && g.node('Cast', [g.input(model.sizes, 'int64', ['n', 2])], { to: DataType.float32 });
  const four = two && g.node('Unsqueeze', [g.node('Concat', [two, two], { axis: 1 }), g.constant([1])]);
  const mask =
    model.mask && g.node('Cast', [g.input('pixel_mask', 'int64', model.mask)], { to: DataType.float32 });
  const seen = mask ? g.node('ReduceMean', [mask], { keepdims: 0 }) : g.scalar(1);
  for (const { name: output, values, dims, declared, type = 'float32', isScaled } of model.outputs) {
    const plain = g.node('Add', [g.node('Mul', [g.constant(values, dims), seen]), nothing]);
    const scaled = isScaled && four ? g.node('Mul', [plain, four]) : plain;
    g.output(output, g.node('Cast', [scaled], { to: DataType[type] }), declared ?? dims, type);
  }
  await writeFile(path, g.encode('constant', model.metadata ?? {}));
  return path;
}
