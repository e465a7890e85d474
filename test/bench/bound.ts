// The bound: the model alone in bare onnxruntime, on a ready-made tensor. Prints one JSON line.
//   node test/bench/bound.ts <model.onnx> <threads> <frames> [device] [batch size, or several that take turns: 25,16]
// A model as the server changes it, which takes uint8 frames, gets those.
import '../../model/src/no-telemetry.ts';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { FRAMES_INPUT } from '../../model/src/session.ts';

const [model = '', threads = '2', frames = '100', device = 'cpu', batch = '1'] = process.argv.slice(2);
const sizes = batch.split(',').map(Number);
const mean = sizes.reduce((sum, size) => sum + size) / sizes.length;
const runs = Math.max(1, Math.round(Number(frames) / mean));

const session = await InferenceSession.create(model, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionProviders: [device],
});
const [input = 'images'] = session.inputNames;
const feeds = sizes.map((size) => ({
  [input]: input === FRAMES_INPUT ? uint8Frames(size) : floatFrames(size),
}));
const run = (turn: number) => session.run(feeds[turn % feeds.length] ?? {});
for (let i = 0; i < Math.min(10, runs); i++) await run(i);

/** 1280x720 letterboxed to a multiple of the stride. */
function floatFrames(size: number): Tensor {
  const shape = [size, 3, 384, 640];
  const length = shape.reduce((a, b) => a * b);
  return new Tensor(
    'float32',
    Float32Array.from({ length }, (_, index) => (index % 251) / 251),
    shape,
  );
}

function uint8Frames(size: number): Tensor {
  const shape = [size, 384, 640, 3];
  const length = shape.reduce((a, b) => a * b);
  return new Tensor(
    'uint8',
    Uint8Array.from({ length }, (_, index) => index % 251),
    shape,
  );
}

const cpu = process.cpuUsage();
const start = performance.now();
for (let i = 0; i < runs; i++) await run(i);
const milliseconds = performance.now() - start;
const { user, system } = process.cpuUsage(cpu);
const count = runs * mean;
console.log(JSON.stringify({ fps: (1000 * count) / milliseconds, cpuMs: (user + system) / 1000 / count }));
