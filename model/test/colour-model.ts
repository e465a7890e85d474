import { writeFile } from 'node:fs/promises';
import { GraphBuilder, type Size } from '../src/onnx/graph-builder.ts';
import { DataType } from '../src/onnx/schema.ts';
import { FRAMES_INPUT } from '../src/session.ts';

export interface ColourModelOptions {
  /** Shape of the image input. Default: any batch, any size. */
  shape?: readonly Size[];
  type?: 'float32' | 'float16';
  /** Whether it takes bytes and scales them itself: any model's `pixels`, or `frames` as a model that was quantised here. */
  takes?: 'pixels' | 'frames';
  /** Whether pixels and weights go through an int8 convolution, written as quantizers write it (QDQ). */
  isQuantized?: boolean;
  names?: string;
  /** Whether a free batch is lost on the way, as some exporters lose it: the output is `[1, 7, N]`. */
  losesBatch?: boolean;
}

/**
 * Writes a model in YOLOv8's layout that sees one object, 8 x 6 pixels about (16, 16), whose class is the input's
 * strongest channel, red, green or blue, and whose score is that channel's mean: what the model was fed is in its answer.
 */
export async function writeColourModel(path: string, options: ColourModelOptions = {}): Promise<string> {
  const { takes, type = 'float32' } = options;
  const isLast = takes === 'frames';
  const { shape = isLast ? ['batch', 'height', 'width', 3] : ['batch', 3, 'height', 'width'] } = options;
  const { names = "{0: 'red', 1: 'green', 2: 'blue'}" } = options;
  const g = new GraphBuilder();
  const images = g.input(isLast ? FRAMES_INPUT : 'images', takes ? 'uint8' : type, shape);
  const given = g.node('Cast', [images], { to: DataType.float32 });
  const pixels = takes ? g.node('Mul', [given, g.scalar(1 / 255)]) : given;
  const means = g.node('ReduceMean', [options.isQuantized ? addInt8Convolution(g, pixels) : pixels], {
    axes: isLast ? [1, 2] : [2, 3],
    keepdims: 0,
  });
  const scores = g.node('Unsqueeze', [means, g.constant([2])]);
  const batch = g.node('Shape', [images], { start: 0, end: 1 });
  const boxShape = g.node('Concat', [batch, g.constant([4, 1])], { axis: 0 });
  const boxes = g.node('Expand', [g.constant(Float32Array.of(16, 16, 8, 6), [1, 4, 1]), boxShape]);
  const answer = g.node('Concat', [boxes, scores], { axis: 1 });
  const output = options.losesBatch ? g.node('Reshape', [answer, g.constant([1, 7, -1])]) : answer;
  g.output('output0', g.node('Cast', [output], { to: DataType[type] }), [shape[0] ?? 1, 7, 1], type);
  await writeFile(path, g.encode('colours', { task: 'detect', stride: '32', imgsz: '[32, 32]', names }));
  return path;
}

/** `TensorProto.DataType` of int8. */
const INT8 = 3;

/** A convolution 1 x 1 that gives each channel back as it is: int8 weights 127 / 127, uint8 pixels and results. */
function addInt8Convolution(g: GraphBuilder, images: string): string {
  const weights = g.constant(Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), [3, 3, 1, 1]);
  const zero = g.node('Cast', [g.constant([0], [])], { to: INT8 });
  const asInt8 = [g.scalar(1 / 127), zero];
  const asUint8 = [g.scalar(1 / 255)];
  const throughQuantizer = (tensor: string, scale: string[]) =>
    g.node('DequantizeLinear', [g.node('QuantizeLinear', [tensor, ...scale]), ...scale]);
  const inputs = [throughQuantizer(images, asUint8), throughQuantizer(weights, asInt8)];
  return throughQuantizer(g.node('Conv', inputs, { kernel_shape: [1, 1] }), asUint8);
}
