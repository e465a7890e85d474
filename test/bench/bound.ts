// The bound: the model alone in bare onnxruntime, on a ready-made tensor. Prints one JSON line.
//   node test/bench/bound.ts <model.onnx> <threads> <frames> [device] [batch]
import '../../model/src/no-telemetry.ts';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [model = '', threads = '2', frames = '100', device = 'cpu', batch = '1'] = process.argv.slice(2);
// 1280x720 letterboxed to a multiple of the stride.
const shape = [Number(batch), 3, 384, 640];
const runs = Math.max(1, Math.round(Number(frames) / Number(batch)));

const session = await InferenceSession.create(model, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionProviders: [device],
});
const pixels = Float32Array.from(
  { length: shape.reduce((a, b) => a * b) },
  (_, index) => (index % 251) / 251,
);
const feeds = { [session.inputNames[0] ?? 'images']: new Tensor('float32', pixels, shape) };
for (let i = 0; i < Math.min(10, runs); i++) await session.run(feeds);

const cpu = process.cpuUsage();
const start = performance.now();
for (let i = 0; i < runs; i++) await session.run(feeds);
const milliseconds = performance.now() - start;
const { user, system } = process.cpuUsage(cpu);
const count = runs * Number(batch);
console.log(JSON.stringify({ fps: (1000 * count) / milliseconds, cpuMs: (user + system) / 1000 / count }));
