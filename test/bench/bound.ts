// The bound: the model alone in bare onnxruntime, on a ready-made tensor, on both cores. Prints one JSON line.
//   node test/bench/bound.ts <model.onnx> <threads> <frames>
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [model = '', threads = '2', frames = '100'] = process.argv.slice(2);
// 1280x720 letterboxed to a multiple of the stride.
const shape = [1, 3, 384, 640];

const session = await InferenceSession.create(model, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionProviders: ['cpu'],
});
const pixels = Float32Array.from({ length: 3 * 384 * 640 }, (_, index) => (index % 251) / 251);
const feeds = { [session.inputNames[0] ?? 'images']: new Tensor('float32', pixels, shape) };
for (let i = 0; i < 10; i++) await session.run(feeds);

const times: number[] = [];
const cpu = process.cpuUsage();
for (let i = 0; i < Number(frames); i++) {
  const start = performance.now();
  await session.run(feeds);
  times.push(performance.now() - start);
}
const { user, system } = process.cpuUsage(cpu);
times.sort((a, b) => a - b);
const median = times[times.length >> 1] ?? Number.NaN;
const mean = times.reduce((sum, one) => sum + one, 0) / times.length;
console.log(JSON.stringify({ ms: median, fps: 1000 / mean, cpuMs: (user + system) / 1000 / times.length }));
