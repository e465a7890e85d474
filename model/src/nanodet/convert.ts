import { addDetectionOutput } from '../onnx/detection-output.ts';
import { GraphBuilder } from '../onnx/graph-builder.ts';
import { COCO_CLASSES } from './coco.ts';
import { readGraph, type TfGraph, type TfModelJson, type TfNode } from './tfjs-graph.ts';

/** Side of the square that the source's graph was traced with, pixels. */
const TRACED_SIZE = 416;
/** The source's outputs with scores, by the stride of their cells in pixels. */
const LEVELS = [
  { output: 'Identity', stride: 8 },
  { output: 'Identity_1', stride: 16 },
  { output: 'Identity_2', stride: 32 },
];
/** Distances of 0..10 strides: NanoDet's `reg_max` is 10. */
const BINS = 11;
/** NanoDet's normalisation of 0..255, in the channel order of its input: blue, green, red. */
const MEAN_BGR = [103.53, 116.28, 123.675];
const STD_BGR = [57.375, 57.12, 58.395];

/** An activation in the layout `[N, C, H, W]`, whatever the source's layout is. */
interface Activation {
  name: string;
  /** Height and width for an input of TRACED_SIZE. */
  side: number;
}

/**
 * Converts NanoDet-g from its TensorFlow.js graph to ONNX with the inputs and outputs of a YOLOv8 export: `images`
 * float32 `[N, 3, H, W]`, RGB 0..1, H and W multiples of 32; `output0` float32 `[N, 84, A]` (cx, cy, w, h in
 * pixels, 80 scores). At 416 x 416, A is 3549.
 * @throws Error when the graph is not NanoDet-g's
 */
export function convertNanodet(model: TfModelJson, weights: Uint8Array): Uint8Array {
  const graph = readGraph(model, weights);
  const g = new GraphBuilder();
  const activation = converter(graph, g, g.input('images', 'float32', ['batch', 3, 'height', 'width']));
  const levels = LEVELS.map(({ output, stride }) => {
    const split = findSplit(graph, output);
    const features = activation(graph.inputOf(split)).name;
    const sizes = g.constant([COCO_CLASSES.length, 4 * BINS]);
    const [scores = '', boxes = ''] = g.nodeOf('Split', [features, sizes], { axis: 1 }, 2);
    return { scores, boxes, stride };
  });
  g.output('output0', addDetectionOutput(g, levels, BINS), ['batch', 4 + COCO_CLASSES.length, 'anchors']);
  return g.encode('nanodet-g', metadata());
}

/** Metadata in the form of an Ultralytics export, so that its tools and our server can read the model. */
function metadata(): Record<string, string> {
  const names = COCO_CLASSES.map((name, index) => `${index}: '${name}'`).join(', ');
  return {
    description: 'NanoDet-g, COCO, from https://github.com/RangiLyu/nanodet',
    license: 'Apache-2.0',
    task: 'detect',
    stride: '32',
    batch: '1',
    imgsz: `[${TRACED_SIZE}, ${TRACED_SIZE}]`,
    names: `{${names}}`,
  };
}

/** Follows output `name` back to where its level's features are split into scores and boxes. */
function findSplit(graph: TfGraph, name: string): TfNode {
  const node = graph.node(name);
  return node.op === 'SplitV' ? node : findSplit(graph, graph.inputOf(node));
}

/** @returns a function that converts a tensor of the source, with all that it depends on */
function converter(graph: TfGraph, g: GraphBuilder, input: string): (name: string) => Activation {
  const done = new Map<string, Activation>();

  function activation(name: string): Activation {
    const known = done.get(name);
    if (known) return known;
    const made = convert(graph.node(name));
    done.set(name, made);
    return made;
  }

  function convert(node: TfNode): Activation {
    switch (node.op) {
      case 'Placeholder':
        return centred();
      case 'Transpose':
        return activation(graph.inputOf(node));
      case 'Add':
        return add(node);
      case 'LeakyRelu':
        return leakyRelu(node);
      case 'MaxPool':
        return slide('MaxPool', node, Number(node.attr?.ksize?.list?.i?.[1]));
      case 'ConcatV2':
        return concat(node);
      case 'ResizeBilinear':
        return resize(node);
      default:
        throw new Error(`${node.op} '${node.name}' is not supported`);
    }
  }

  /** The input minus its mean. The first convolution's weights do the division by the deviation and the swap to BGR. */
  function centred(): Activation {
    const mean = Float32Array.from(MEAN_BGR.toReversed(), (value) => value / 255);
    return { name: g.node('Sub', [input, g.constant(mean, [1, 3, 1, 1])]), side: TRACED_SIZE };
  }

  function add(node: TfNode): Activation {
    const [left, right] = [graph.inputOf(node, 0), graph.inputOf(node, 1)];
    if (graph.isConstant(right)) return convolution(graph.node(left), right);
    const [a, b] = [activation(left), activation(right)];
    return { name: g.node('Add', [a.name, b.name]), side: a.side };
  }

  function convolution(node: TfNode, bias: string): Activation {
    if (node.op !== 'Conv2D') throw new Error(`bias '${bias}' follows ${node.op} '${node.name}'`);
    const kernel = graph.constant(graph.inputOf(node, 1));
    const [side = 0, , inputs = 0, outputs = 0] = kernel.shape;
    const isFirst = graph.node(padded(node).from).op === 'Placeholder';
    const weights = toOihw(kernel.values, side * side, inputs, outputs, isFirst);
    return slide('Conv', node, side, [
      g.constant(weights, [outputs, inputs, side, side]),
      g.constant(Float32Array.from(graph.constant(bias).values)),
    ]);
  }

  /** Slides a square window over an activation. */
  function slide(type: 'Conv' | 'MaxPool', node: TfNode, side: number, constants: string[] = []): Activation {
    const { from, pad } = padded(node);
    const source = activation(from);
    const stride = Number(node.attr?.strides?.list?.i?.[1]);
    const name = g.node(type, [source.name, ...constants], {
      kernel_shape: [side, side],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
    });
    return { name, side: ((source.side + 2 * pad - side) / stride + 1) | 0 };
  }

  /** The source has separate padding operations; ONNX pads in Conv and MaxPool. */
  function padded(node: TfNode): { from: string; pad: number } {
    let from = graph.inputOf(node);
    let pad = 0;
    for (let before = graph.node(from); /^(Transpose|Pad|PadV2)$/.test(before.op); ) {
      if (before.op !== 'Transpose') pad = symmetricPad(before);
      from = graph.inputOf(before);
      before = graph.node(from);
    }
    return { from, pad };
  }

  function symmetricPad(node: TfNode): number {
    const pads = [...graph.constant(graph.inputOf(node, 1)).values];
    const pad = pads[4] ?? 0;
    if (pads.join() !== [0, 0, 0, 0, pad, pad, pad, pad].join())
      throw new Error(`'${node.name}' pads by ${pads}`);
    return pad;
  }

  function leakyRelu(node: TfNode): Activation {
    const { name, side } = activation(graph.inputOf(node));
    const alpha = { float: node.attr?.alpha?.f ?? 0.2 };
    return { name: g.node('LeakyRelu', [name], { alpha }), side };
  }

  function concat(node: TfNode): Activation {
    const inputs = (node.input ?? []).slice(0, -1).map(activation);
    const axis = graph.constant(graph.inputOf(node, inputs.length)).values[0];
    if (axis !== 1) throw new Error(`'${node.name}' joins along axis ${axis}`);
    const names = inputs.map(({ name }) => name);
    return { name: g.node('Concat', names, { axis }), side: inputs[0]?.side ?? 0 };
  }

  function resize(node: TfNode): Activation {
    const source = activation(graph.inputOf(node));
    const side = graph.constant(graph.inputOf(node, 1)).values[0] ?? 0;
    const scale = side / source.side;
    const scales = g.constant(Float32Array.of(1, 1, scale, scale));
    const attributes = { mode: 'linear', coordinate_transformation_mode: 'half_pixel' };
    return { name: g.node('Resize', [source.name, '', scales], attributes), side };
  }

  return activation;
}

/**
 * Kernel `[H * W, I, O]` -> `[O, I, H * W]`. The first layer's kernel is also changed: it accepts RGB 0..1 minus the
 * mean. The source's accepts BGR 0..255, minus the mean and divided by the deviation.
 */
function toOihw(
  kernel: ArrayLike<number>,
  taps: number,
  inputs: number,
  outputs: number,
  isFirst: boolean,
): Float32Array {
  const result = new Float32Array(kernel.length);
  let at = 0;
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      const from = isFirst ? inputs - 1 - input : input;
      const scale = isFirst ? 255 / (STD_BGR[from] ?? 1) : 1;
      for (let tap = 0; tap < taps; tap++) {
        result[at++] = (kernel[(tap * inputs + from) * outputs + output] ?? 0) * scale;
      }
    }
  }
  return result;
}
