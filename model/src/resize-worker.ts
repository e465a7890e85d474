import { parentPort } from 'node:worker_threads';
import { resizeLinear } from './resize.ts';

parentPort?.on('message', (picture: Parameters<typeof resizeLinear>) => {
  const scaled = resizeLinear(...picture);
  parentPort?.postMessage(scaled, [scaled.buffer as ArrayBuffer]);
});
