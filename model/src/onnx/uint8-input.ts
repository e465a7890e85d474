import { GraphBuilder, valueInfo } from './graph-builder.ts';
import { DataType, type ModelProto } from './schema.ts';

/** Name of the input that {@link takeUint8Frames} adds. */
export const FRAMES_INPUT = 'frames';

/** How a model wants its pixels; what most exports want is RGB divided by 255. */
export interface Normalisation {
  /** One factor a channel, in the order of the model's input. */
  scale: readonly [number, number, number];
  /** Added after scaling, likewise. */
  offset: readonly [number, number, number];
  bgr: boolean;
}

/** RGB 0..1, as Ultralytics' exports take it. */
export const UNIT_RGB: Normalisation = {
  scale: [1 / 255, 1 / 255, 1 / 255],
  offset: [0, 0, 0],
  bgr: false,
};

/**
 * Puts the conversion of decoded frames into the model itself: its image input `[N, 3, H, W]` becomes `frames`, uint8
 * `[N, H, W, 3]` RGB. A quarter of the bytes travel to the runtime, and no loop in JavaScript touches them.
 * Changes `model`.
 */
export function takeUint8Frames(model: ModelProto, normalisation: Normalisation): void {
  const [image] = model.graph.input;
  if (!image) throw new Error('the model has no input');
  const { elemType, shape } = image.type.tensorType;
  const g = new GraphBuilder('frames_');
  let pixels = g.node('Transpose', [FRAMES_INPUT], { perm: [0, 3, 1, 2] });
  if (normalisation.bgr) pixels = g.node('Gather', [pixels, g.constant([2, 1, 0])], { axis: 1 });
  pixels = g.node('Cast', [pixels], { to: DataType.float32 });
  pixels = addScaling(g, pixels, normalisation);
  if (elemType !== DataType.float32) pixels = g.node('Cast', [pixels], { to: elemType });
  g.nodes.push({ opType: 'Identity', name: 'frames_end', input: [pixels], output: [image.name] });

  model.graph.node.unshift(...g.nodes);
  model.graph.initializer.push(...g.initializers);
  const [batch, , height, width] = shape.dim.map((dim, index) => sizeOf(dim, `frames_${index}`));
  const frames = valueInfo(FRAMES_INPUT, DataType.uint8, [batch ?? 1, height ?? 1, width ?? 1, 3]);
  model.graph.input = [frames, ...model.graph.input.slice(1)];
}

function addScaling(g: GraphBuilder, pixels: string, { scale, offset }: Normalisation): string {
  const isUniform = scale.every((factor) => factor === scale[0]);
  const factors = isUniform ? g.scalar(scale[0]) : g.constant(Float32Array.from(scale), [1, 3, 1, 1]);
  const scaled = scale[0] === 1 && isUniform ? pixels : g.node('Mul', [pixels, factors]);
  if (offset.every((value) => value === 0)) return scaled;
  return g.node('Add', [scaled, g.constant(Float32Array.from(offset), [1, 3, 1, 1])]);
}

/** @returns a fixed size, or the name of one that varies (`unnamed` where the file names none) */
export function sizeOf(dim: { dimValue?: unknown; dimParam?: string }, unnamed: string): number | string {
  const size = Number(dim.dimValue ?? 0);
  return size > 0 ? size : dim.dimParam || unnamed;
}
