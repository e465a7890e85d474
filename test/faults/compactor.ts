// The compactor without the wait for full hours: runs follow each other, so that many of them meet faults.
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
