import { afterAll, vi } from 'vitest';

/** The environment as it was before the file. */
const before = { ...process.env };

// The files after it would load anew what changes others for good: kafkajs, koffi's types, the metrics.
vi.resetModules = () => {
  throw new Error('modules are shared with other files: list this one under ALONE in vitest.config.ts');
};

/** Files that share a worker: each leaves the process as it found it. */
afterAll(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});
