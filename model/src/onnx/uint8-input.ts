import type { Preprocessing } from '../heads/head.ts';
import { GraphBuilder, valueInfo } from './graph-builder.ts';
import { DataType, type ModelProto, type ValueInfoProto } from './schema.ts';

/** Name of the input that {@link takeUint8Frames} adds. */
export const FRAMES_INPUT = 'video_pipeline_frames';

interface Scaling {
  /** One factor a channel, in the order of the model's input. */
  scale: number[];
  /** Added after scaling, likewise. */
  offset: number[];
}

/** What a model wants to be fed of a pixel's bytes. */
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
 * Puts the conversion of decoded frames into the model itself: its image input `[N, 3, H, W]` becomes {@link FRAMES_INPUT}, uint8
 * `[N, H, W, 3]` RGB. A quarter of the bytes travel to the runtime, and no loop in JavaScript touches them.
 * Changes `model`.
 */
export function takeUint8Frames(
  model: ModelProto,
  pixelForm: PixelForm | Preprocessing['normalisation'],
): void {
  const image = imageInput(model);
  if (!image) throw new Error('the model has no input');
  // A model that was quantised takes them already.
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
  // A model that takes bytes does the rest by itself.
  const scaling = elemType === DataType.uint8 ? scalings.rgb255 : form;
  pixels = addScaling(g, g.node('Cast', [pixels], { to: DataType.float32 }), scaling, channels);
  pixels = g.node('Cast', [pixels], { to: elemType });
  g.nodes.push({ opType: 'Identity', name: `${FRAMES_INPUT}_end`, input: [pixels], output: [image.name] });

  model.graph.node.unshift(...g.nodes);
  model.graph.initializer.push(...g.initializers);
  const sizes = shape.dim.map((dim, index) => sizeOf(dim, `${FRAMES_INPUT}_${index}`));
  const [batch = 1, height = 1, width = 1] = channels === 1 ? sizes.toSpliced(1, 1) : sizes;
  const frames = valueInfo(FRAMES_INPUT, DataType.uint8, [batch, height, width, 3]);
  model.graph.input = model.graph.input.map((input) => (input === image ? frames : input));
}

/** Makes all outputs float32, whatever the model computes with, so that heads know one type. Changes `model`. */
export function giveFloat32(model: ModelProto): void {
  for (const output of model.graph.output) {
    const { tensorType } = output.type;
    if (tensorType.elemType === DataType.float32) continue;
    const name = `float32_${output.name}`;
    const cast = new GraphBuilder();
    cast.node('Cast', [output.name], { to: DataType.float32 });
    model.graph.node.push(...cast.nodes.map((node) => ({ ...node, name, output: [name] })));
    output.name = name;
    tensorType.elemType = DataType.float32;
  }
}

/** The only input that is no weight; older exporters declare weights as inputs too. */
export function imageInput(model: ModelProto): ValueInfoProto | undefined {
  const weights = new Set(model.graph.initializer.map(({ name }) => name));
  const inputs = model.graph.input.filter(({ name }) => !weights.has(name));
  return inputs.length === 1 ? inputs[0] : undefined;
}

/** Where an image input has its channels: `[N, 3, H, W]` or `[N, H, W, 3]`. */
export function layoutOf(image: ValueInfoProto): { channels: 1 | 3; shape: (number | string)[] } {
  const shape = image.type.tensorType.shape.dim.map((dim) => sizeOf(dim, '?'));
  return { channels: shape[1] !== 3 && shape[3] === 3 ? 3 : 1, shape };
}

function addScaling(g: GraphBuilder, pixels: string, { scale, offset }: Scaling, channels: 1 | 3): string {
  const perChannel = (values: number[]) =>
    g.constant(Float32Array.from(values), channels === 1 ? [1, values.length, 1, 1] : [values.length]);
  const isOne = scale.every((factor) => factor === 1);
  const scaled = isOne ? pixels : g.node('Mul', [pixels, perChannel(scale)]);
  return offset.every((value) => value === 0) ? scaled : g.node('Add', [scaled, perChannel(offset)]);
}

/** @returns a fixed size, or the name of one that varies (`unnamed` where the file names none) */
export function sizeOf(dim: { dimValue?: unknown; dimParam?: string }, unnamed: string): number | string {
  const size = Number(dim.dimValue ?? 0);
  return size > 0 ? size : dim.dimParam || unnamed;
}
