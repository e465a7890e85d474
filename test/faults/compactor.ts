// The compactor without its waiting for full hours: run after run, as many meet the faults.
import { setTimeout as sleep } from 'node:timers/promises';
import { reportReady } from '@video-pipeline/lifecycle';
import { createReader, createStore } from '@video-pipeline/storage';
import { compact } from '@video-pipeline/tables';

const BETWEEN_MS = 1_500;

process.once('SIGTERM', () => process.exit());
process.once('disconnect', () => process.exit());
const bucket = { ...createReader(), ...createStore() };
reportReady();
for (;;) {
  await compact(bucket, { all: true }).catch(({ message }) => console.error(message));
  await sleep(BETWEEN_MS);
}
