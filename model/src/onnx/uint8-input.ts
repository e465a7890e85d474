import type { Preprocessing } from '../heads/head.ts';
import { FRAMES_INPUT } from '../session.ts';
import { GraphBuilder, valueInfo } from './graph-builder.ts';
import { DataType, type ModelProto, type NodeProto, type ValueInfoProto } from './schema.ts';

interface Scaling {
  /** One factor for each channel, in the order of the model's input; or one for all. */
  scale: number[];
  /** Added after scaling; in the same form. */
  offset: number[];
}

/** How a pixel's bytes are converted for a model. */
export interface PixelForm extends Scaling {
  isBgr: boolean;
}

/** Mean and deviation of ImageNet's pictures, RGB 0..1, as torchvision states them. */
const IMAGENET_MEAN = [0.485, 0.456, 0.406];
const IMAGENET_STD = [0.229, 0.224, 0.225];

const scalings: Record<Preprocessing['normalisation'], Scaling> = {
  unit: { scale: [1 / 255], offset: [0] },
  rgb255: { scale: [1], offset: [0] },
  bgr255: { scale: [1], offset: [0] },
  imagenet: {
    scale: IMAGENET_STD.map((deviation) => 1 / (255 * deviation)),
    offset: IMAGENET_MEAN.map((mean, channel) => -mean / (IMAGENET_STD[channel] ?? 1)),
  },
};

/**
 * Adds the conversion of decoded frames to the model's graph: its image input `[N, 3, H, W]` becomes {@link
 * FRAMES_INPUT}, uint8 `[N, H, W, 3]` RGB. The runtime gets a quarter of the bytes, and JavaScript needs no loop over
 * the pixels. Changes `model`.
 */
export function takeUint8Frames(
  model: ModelProto,
  pixelForm: PixelForm | Preprocessing['normalisation'],
): void {
  const image = imageInput(model);
  if (!image) throw new Error('the model has no input');
  // A model that was quantised here accepts uint8 frames already.
  if (image.name === FRAMES_INPUT) return;
  const { elemType, shape } = image.type.tensorType;
  const g = new GraphBuilder(`${FRAMES_INPUT}_`);
  const { channels } = layoutOf(image);
  let pixels = channels === 1 ? g.node('Transpose', [FRAMES_INPUT], { perm: [0, 3, 1, 2] }) : FRAMES_INPUT;
  const form =
    typeof pixelForm === 'string' ? { ...scalings[pixelForm], isBgr: pixelForm === 'bgr255' } : pixelForm;
  if (form.isBgr) {
    pixels = g.node('Gather', [pixels, g.constant([2, 1, 0])], { axis: channels });
  }
  // A model with a uint8 input does the scaling itself.
  const scaling = elemType === DataType.uint8 ? scalings.rgb255 : form;
  pixels = addScaling(g, g.node('Cast', [pixels], { to: DataType.float32 }), scaling, channels);
  pixels = g.node('Cast', [pixels], { to: elemType });
  // Exports of torchvision accept one picture, without a batch dimension.
  if (shape.dim.length === 3) pixels = g.node('Gather', [pixels, g.constant([0], [])], { axis: 0 });
  g.nodes.push({ opType: 'Identity', name: `${FRAMES_INPUT}_end`, input: [pixels], output: [image.name] });

  const stated = new Set(weightless(model).filter((input) => input !== image));
  for (const input of stated) g.nodes.push(statedAs(g, input));
  model.graph.node.unshift(...g.nodes);
  model.graph.initializer.push(...g.initializers);
  const sizes = batched(shape.dim.map((dim, index) => sizeOf(dim, `${FRAMES_INPUT}_${index}`)));
  const [batch = 1, height = 1, width = 1] = channels === 1 ? sizes.toSpliced(1, 1) : sizes;
  const frames = valueInfo(FRAMES_INPUT, DataType.uint8, [batch, height, width, 3]);
  const inputs = model.graph.input.filter((input) => !stated.has(input));
  model.graph.input = inputs.map((input) => (input === image ? frames : input));
}

/**
 * Further inputs by which a model scales its boxes, and their values. They get the size of the model's input, so that
 * boxes are in its pixels.
 * @see https://github.com/Peterande/D-FINE `tools/deployment/export_onnx.py`, and PaddleDetection's
 *   `deploy/EXPORT_ONNX_MODEL.md`
 */
const STATED: Record<string, 'width, height' | 'height, width' | 'ones' | 'mask'> = {
  orig_target_sizes: 'width, height',
  im_shape: 'height, width',
  scale_factor: 'ones',
  // DETR of Hugging Face: which pixels are the picture, all of them here.
  pixel_mask: 'mask',
};

/** The node that gives such an input its value, `[N, 2]`, or `[N, H, W]` for a mask, from the size of the frames. */
function statedAs(g: GraphBuilder, { name, type }: ValueInfoProto): NodeProto {
  const sides = g.node('Shape', [FRAMES_INPUT]);
  const pick = (...places: number[]) => g.node('Gather', [sides, g.constant(places)], { axis: 0 });
  const what = STATED[name];
  const value =
    what === 'width, height' ? pick(2, 1) : what === 'height, width' ? pick(1, 2) : g.constant([1]);
  const [rows, columns] = (type.tensorType.shape?.dim ?? []).slice(1).map((dim) => sizeOf(dim, ''));
  const side = (size: unknown, place: number) =>
    typeof size === 'number' ? g.constant([size]) : pick(place);
  const sizes = what === 'mask' ? [side(rows, 1), side(columns, 2)] : [g.constant([2])];
  const all = g.node('Expand', [value, g.node('Concat', [pick(0), ...sizes], { axis: 0 })]);
  const cast = g.node('Cast', [all], { to: type.tensorType.elemType });
  return { opType: 'Identity', name: `${FRAMES_INPUT}_${name}`, input: [cast], output: [name] };
}

/** Converts all outputs to float32, so that heads read one type only. Changes `model`. */
export function giveFloat32(model: ModelProto): void {
  // YOLOv5 until 6.0 and YOLOv7 also output the raw maps of each stride: only the decoded output is kept.
  const rankOf = ({ type }: ValueInfoProto) => type.tensorType.shape?.dim.length;
  const decoded = model.graph.output.filter((output) => rankOf(output) === 3);
  const raw = model.graph.output.filter((output) => rankOf(output) === 5);
  if (decoded.length === 1 && decoded.length + raw.length === model.graph.output.length)
    model.graph.output = decoded;
  for (const output of model.graph.output) {
    const { tensorType } = output.type;
    if (tensorType.elemType === DataType.float32) continue;
    const inner = takeOver(model, output.name, `${FRAMES_INPUT}_`);
    const cast = new GraphBuilder();
    cast.node('Cast', [inner], { to: DataType.float32 });
    model.graph.node.push(...cast.nodes.map((node) => ({ ...node, name: inner, output: [output.name] })));
    tensorType.elemType = DataType.float32;
  }
}

/**
 * Renames an output's tensor in the graph, so that another node can give the output. The output keeps its name, which
 * may identify the family. @returns the new name
 */
export function takeOver(model: ModelProto, output: string, prefix: string): string {
  const inner = `${prefix}${output}`;
  const renamed = (names: string[] = []) => names.map((name) => (name === output ? inner : name));
  for (const node of model.graph.node)
    Object.assign(node, { input: renamed(node.input), output: renamed(node.output) });
  return inner;
}

/** The only input that is neither a weight nor the picture's size. */
export function imageInput(model: ModelProto): ValueInfoProto | undefined {
  const inputs = weightless(model).filter(({ name }) => !Object.hasOwn(STATED, name));
  return inputs.length === 1 ? inputs[0] : undefined;
}

/** The inputs without weights: older exporters declare weights as inputs too. */
function weightless(model: ModelProto): ValueInfoProto[] {
  const weights = new Set(model.graph.initializer.map(({ name }) => name));
  return model.graph.input.filter(({ name }) => !weights.has(name));
}

/**
 * The channel axis of an image input: `[N, 3, H, W]` or `[N, H, W, 3]`. Without N the batch size is 1. Hugging Face's
 * exporter leaves the number of channels open: then they are three, and the second size.
 */
export function layoutOf(image: ValueInfoProto): { channels: 1 | 3; shape: (number | string)[] } {
  const shape = batched(image.type.tensorType.shape.dim.map((dim) => sizeOf(dim, '?')));
  if (shape[1] !== 3 && shape[3] === 3) return { channels: 3, shape };
  return { channels: 1, shape: typeof shape[1] === 'string' ? shape.with(1, 3) : shape };
}

const batched = (shape: (number | string)[]) => (shape.length === 3 ? [1, ...shape] : shape);

function addScaling(g: GraphBuilder, pixels: string, { scale, offset }: Scaling, channels: 1 | 3): string {
  const perChannel = (values: number[]) =>
    g.constant(Float32Array.from(values), channels === 1 ? [1, values.length, 1, 1] : [values.length]);
  const isOne = scale.every((factor) => factor === 1);
  const scaled = isOne ? pixels : g.node('Mul', [pixels, perChannel(scale)]);
  return offset.every((value) => value === 0) ? scaled : g.node('Add', [scaled, perChannel(offset)]);
}

/** @returns a fixed size, or the name of a dynamic one (`unnamed` if the file has no name) */
export function sizeOf(dim: { dimValue?: unknown; dimParam?: string }, unnamed: string): number | string {
  const size = Number(dim.dimValue ?? 0);
  return size > 0 ? size : dim.dimParam || unnamed;
}
