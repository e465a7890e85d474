import { addDetectionOutput } from '../onnx/detection-output.ts';
import { GraphBuilder } from '../onnx/graph-builder.ts';
import { COCO_CLASSES } from './coco.ts';
import { TfGraph, type TfModelJson, type TfNode } from './tfjs-graph.ts';

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
  const graph = new TfGraph(model, weights);
  const g = new GraphBuilder();
  const converter = new Converter(graph, g, g.input('images', 'float32', ['batch', 3, 'height', 'width']));
  const levels = LEVELS.map(({ output, stride }) => {
    const split = findSplit(graph, output);
    const features = converter.activation(graph.inputOf(split)).name;
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

class Converter {
  readonly #graph: TfGraph;
  readonly #g: GraphBuilder;
  readonly #input: string;
  readonly #done = new Map<string, Activation>();

  constructor(graph: TfGraph, g: GraphBuilder, input: string) {
    this.#graph = graph;
    this.#g = g;
    this.#input = input;
  }

  /** @returns tensor `name` of the source, converted with all that it depends on */
  activation(name: string): Activation {
    const known = this.#done.get(name);
    if (known) return known;
    const made = this.#convert(this.#graph.node(name));
    this.#done.set(name, made);
    return made;
  }

  #convert(node: TfNode): Activation {
    switch (node.op) {
      case 'Placeholder':
        return this.#centred();
      case 'Transpose':
        return this.activation(this.#graph.inputOf(node));
      case 'Add':
        return this.#add(node);
      case 'LeakyRelu':
        return this.#leakyRelu(node);
      case 'MaxPool':
        return this.#maxPool(node);
      case 'ConcatV2':
        return this.#concat(node);
      case 'ResizeBilinear':
        return this.#resize(node);
      default:
        throw new Error(`${node.op} '${node.name}' is not supported`);
    }
  }

  /** The input minus its mean. The first convolution's weights do the division by the deviation and the swap to BGR. */
  #centred(): Activation {
    const mean = Float32Array.from(MEAN_BGR.toReversed(), (value) => value / 255);
    const name = this.#g.node('Sub', [this.#input, this.#g.constant(mean, [1, 3, 1, 1])]);
    return { name, side: TRACED_SIZE };
  }

  #add(node: TfNode): Activation {
    const [left, right] = [this.#graph.inputOf(node, 0), this.#graph.inputOf(node, 1)];
    if (this.#graph.isConstant(right)) return this.#convolution(this.#graph.node(left), right);
    const [a, b] = [this.activation(left), this.activation(right)];
    return { name: this.#g.node('Add', [a.name, b.name]), side: a.side };
  }

  #convolution(node: TfNode, bias: string): Activation {
    if (node.op !== 'Conv2D') throw new Error(`bias '${bias}' follows ${node.op} '${node.name}'`);
    const { from, pad } = this.#padded(node);
    const kernel = this.#graph.constant(this.#graph.inputOf(node, 1));
    const [side = 0, , inputs = 0, outputs = 0] = kernel.shape;
    const isFirst = this.#graph.node(from).op === 'Placeholder';
    const weights = toOihw(kernel.values, side * side, inputs, outputs, isFirst);
    const constants = [
      this.#g.constant(weights, [outputs, inputs, side, side]),
      this.#g.constant(Float32Array.from(this.#graph.constant(bias).values)),
    ];
    return this.#slide('Conv', node, { from, pad, side }, constants);
  }

  #maxPool(node: TfNode): Activation {
    const side = Number(node.attr?.ksize?.list?.i?.[1]);
    return this.#slide('MaxPool', node, { ...this.#padded(node), side });
  }

  /** Slides a square window over an activation. */
  #slide(
    type: 'Conv' | 'MaxPool',
    node: TfNode,
    { from, pad, side }: { from: string; pad: number; side: number },
    constants: string[] = [],
  ): Activation {
    const source = this.activation(from);
    const stride = Number(node.attr?.strides?.list?.i?.[1]);
    const name = this.#g.node(type, [source.name, ...constants], {
      kernel_shape: [side, side],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
    });
    return { name, side: ((source.side + 2 * pad - side) / stride + 1) | 0 };
  }

  /** The source has separate padding operations; ONNX pads in Conv and MaxPool. */
  #padded(node: TfNode): { from: string; pad: number } {
    let from = this.#graph.inputOf(node);
    let pad = 0;
    for (let before = this.#graph.node(from); /^(Transpose|Pad|PadV2)$/.test(before.op); ) {
      if (before.op !== 'Transpose') pad = this.#symmetricPad(before);
      from = this.#graph.inputOf(before);
      before = this.#graph.node(from);
    }
    return { from, pad };
  }

  #symmetricPad(node: TfNode): number {
    const pads = [...this.#graph.constant(this.#graph.inputOf(node, 1)).values];
    const pad = pads[4] ?? 0;
    if (pads.join() !== [0, 0, 0, 0, pad, pad, pad, pad].join()) {
      throw new Error(`'${node.name}' pads by ${pads}`);
    }
    return pad;
  }

  #leakyRelu(node: TfNode): Activation {
    const { name, side } = this.activation(this.#graph.inputOf(node));
    const alpha = { float: node.attr?.alpha?.f ?? 0.2 };
    return { name: this.#g.node('LeakyRelu', [name], { alpha }), side };
  }

  #concat(node: TfNode): Activation {
    const inputs = (node.input ?? []).slice(0, -1).map((input) => this.activation(input));
    const axis = this.#graph.constant(this.#graph.inputOf(node, inputs.length)).values[0];
    if (axis !== 1) throw new Error(`'${node.name}' joins along axis ${axis}`);
    return {
      name: this.#g.node(
        'Concat',
        inputs.map(({ name }) => name),
        { axis },
      ),
      side: inputs[0]?.side ?? 0,
    };
  }

  #resize(node: TfNode): Activation {
    const source = this.activation(this.#graph.inputOf(node));
    const side = this.#graph.constant(this.#graph.inputOf(node, 1)).values[0] ?? 0;
    const scale = side / source.side;
    const scales = this.#g.constant(Float32Array.of(1, 1, scale, scale));
    const attributes = { mode: 'linear', coordinate_transformation_mode: 'half_pixel' };
    return { name: this.#g.node('Resize', [source.name, '', scales], attributes), side };
  }
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
