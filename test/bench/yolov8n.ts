import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDir } from '@video-pipeline/assets';
import { COCO_CLASSES } from '../../model/src/nanodet/coco.ts';
import { addDetectionOutput } from '../../model/src/onnx/detection-output.ts';
import { GraphBuilder } from '../../model/src/onnx/graph-builder.ts';
import { gaussian, randomOf } from '../support/random.ts';

/** Bins of the distribution over distances: YOLOv8's `reg_max`. */
const BINS = 16;

/** Where `npm run reference:yolov8n` leaves the same model as ultralytics itself exports it. */
export const EXPORTED_YOLOV8N = join(cacheDir(), 'bench', 'yolov8n-exported.onnx');

/** What was built: weights, and multiply-adds times two for one picture of 640 x 640. */
export interface ModelCost {
  parameters: number;
  flops: number;
}

/**
 * Writes YOLOv8n with fixed random weights: the architecture, cost, inputs and outputs of the published model
 * (https://github.com/ultralytics/ultralytics/blob/main/ultralytics/cfg/models/v8/yolov8.yaml, scale n, batch
 * normalisation folded), to measure speed with and to compare with ultralytics. What it detects means nothing; at a
 * threshold of 0.25 it is a few boxes a picture, at 0.1 some forty.
 */
export async function buildYolov8n(path: string): Promise<ModelCost> {
  const g = new GraphBuilder();
  const layers = new Layers(g);
  const levels = detectionLevels(layers, g.input('images', 'float32', ['batch', 3, 'height', 'width']));
  g.output('output0', addDetectionOutput(g, levels, BINS), ['batch', 4 + COCO_CLASSES.length, 'anchors']);
  const names = COCO_CLASSES.map((name, index) => `${index}: '${name}'`).join(', ');
  const metadata = { task: 'detect', stride: '32', batch: '1', imgsz: '[640, 640]', names: `{${names}}` };
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, g.encode('yolov8n-random', metadata));
  return layers.cost;
}

/** A tensor `[N, channels, 640 / stride, 640 / stride]` for an input of 640 x 640. */
interface Feature {
  name: string;
  channels: number;
  stride: number;
}

function detectionLevels(l: Layers, images: string) {
  const stem = l.conv(l.conv({ name: images, channels: 3, stride: 1 }, 16, 3, 2), 32, 3, 2);
  const p3 = l.c2f(l.conv(l.c2f(stem, 32, 1, true), 64, 3, 2), 64, 2, true);
  const p4 = l.c2f(l.conv(p3, 128, 3, 2), 128, 2, true);
  const p5 = l.sppf(l.c2f(l.conv(p4, 256, 3, 2), 256, 1, true), 256);
  const up4 = l.c2f(l.concat([l.upsample(p5), p4]), 128, 1, false);
  const out3 = l.c2f(l.concat([l.upsample(up4), p3]), 64, 1, false);
  const out4 = l.c2f(l.concat([l.conv(out3, 64, 3, 2), up4]), 128, 1, false);
  const out5 = l.c2f(l.concat([l.conv(out4, 128, 3, 2), p5]), 256, 1, false);
  return [out3, out4, out5].map((feature) => ({
    boxes: l.linear(l.conv(l.conv(feature, 64, 3), 64, 3), 4 * BINS, 1, 0).name,
    scores: l.linear(l.conv(l.conv(feature, 80, 3), 80, 3), COCO_CLASSES.length, 0.85, -4.6).name,
    stride: feature.stride,
  }));
}

/** Keeps large activations at their scale through SiLU, which passes half of them; more would let them explode. */
const SILU_GAIN = Math.SQRT2;
/** Deviation of the biases: with none, small activations would fade layer by layer, as SiLU halves them. */
const BIAS_DEVIATION = 0.6;

class Layers {
  readonly cost: ModelCost = { parameters: 0, flops: 0 };
  readonly #g: GraphBuilder;
  readonly #random = normals(8);

  constructor(g: GraphBuilder) {
    this.#g = g;
  }

  /** Convolution, bias, SiLU. */
  conv(from: Feature, channels: number, side: number, stride = 1): Feature {
    const linear = this.#convolution(
      from,
      channels,
      side,
      stride,
      SILU_GAIN,
      () => this.#random() * BIAS_DEVIATION,
    );
    const gate = this.#g.node('Sigmoid', [linear.name]);
    return { ...linear, name: this.#g.node('Mul', [linear.name, gate]) };
  }

  /** Convolution 1 x 1 without activation. */
  linear(from: Feature, channels: number, gain: number, bias: number): Feature {
    return this.#convolution(from, channels, 1, 1, gain, () => bias);
  }

  /** Cross-stage block: half of the channels pass `count` bottlenecks, and each one's output is kept. */
  c2f(from: Feature, channels: number, count: number, shortcut: boolean): Feature {
    const half = channels / 2;
    const names = this.#g.nodeOf('Split', [this.conv(from, channels, 1).name], { axis: 1 }, 2);
    const parts = names.map((name): Feature => ({ name, channels: half, stride: from.stride }));
    for (let index = 0; index < count; index++) {
      const last = parts.at(-1) as Feature;
      const next = this.conv(this.conv(last, half, 3), half, 3);
      parts.push(shortcut ? { ...next, name: this.#g.node('Add', [last.name, next.name]) } : next);
    }
    return this.conv(this.concat(parts), channels, 1);
  }

  /** Spatial pyramid pooling, fast: three poolings of 5 x 5 one after another. */
  sppf(from: Feature, channels: number): Feature {
    const parts = [this.conv(from, from.channels / 2, 1)];
    for (let index = 0; index < 3; index++) {
      const last = parts.at(-1) as Feature;
      const pool = { kernel_shape: [5, 5], strides: [1, 1], pads: [2, 2, 2, 2] };
      parts.push({ ...last, name: this.#g.node('MaxPool', [last.name], pool) });
    }
    return this.conv(this.concat(parts), channels, 1);
  }

  upsample(from: Feature): Feature {
    const scales = this.#g.constant(Float32Array.of(1, 1, 2, 2));
    const attributes = {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    };
    const name = this.#g.node('Resize', [from.name, '', scales], attributes);
    return { ...from, name, stride: from.stride / 2 };
  }

  concat(parts: readonly Feature[]): Feature {
    const name = this.#g.node(
      'Concat',
      parts.map((part) => part.name),
      { axis: 1 },
    );
    const channels = parts.reduce((sum, part) => sum + part.channels, 0);
    return { name, channels, stride: parts[0]?.stride ?? 1 };
  }

  #convolution(
    from: Feature,
    channels: number,
    side: number,
    stride: number,
    gain: number,
    bias: () => number,
  ): Feature {
    const fanIn = from.channels * side * side;
    const scale = gain / Math.sqrt(fanIn);
    const weights = Float32Array.from({ length: channels * fanIn }, () => this.#random() * scale);
    const pad = (side - 1) / 2;
    const name = this.#g.node(
      'Conv',
      [
        from.name,
        this.#g.constant(weights, [channels, from.channels, side, side]),
        this.#g.constant(Float32Array.from({ length: channels }, bias)),
      ],
      { kernel_shape: [side, side], strides: [stride, stride], pads: [pad, pad, pad, pad] },
    );
    const to = { name, channels, stride: from.stride * stride };
    this.cost.parameters += channels * (fanIn + 1);
    this.cost.flops += 2 * channels * fanIn * (640 / to.stride) ** 2;
    return to;
  }
}

/** Normal random numbers, the same for the same seed. */
function normals(seed: number): () => number {
  const { next } = randomOf(seed);
  return () => gaussian(next);
}
