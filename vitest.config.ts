import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { compileCacheDir } from './packages/assets/src/cache.ts';
import { cleanEnvironment } from './test/support/clean-environment.ts';
import LongestFirst from './test/support/longest-first.ts';

const [node] = process.versions.node.split('.');
if (Number(node) < 24)
  throw new Error(
    `this is Node ${process.version}: run the tests with npm ('npm test'), which takes Node 24 of this checkout`,
  );

cleanEnvironment(process.env);
// As the local stack has it: what the tests start, and the workers themselves, are loaded in half the processor time.
process.env.NODE_COMPILE_CACHE ??= compileCacheDir();

// A shared runner may stand still for seconds. What fails twice is broken, and the report names what did once.
const retry = process.env.CI ? 1 : 0;
/** Whatever starts processes. */
const patient = {
  retry,
  testTimeout: 120_000,
  hookTimeout: 240_000,
  expect: { poll: { timeout: 20_000 } },
};
const CPU_SECONDS = './test/support/cpu-seconds.ts';
const CLEAN_SLATE = './test/support/clean-slate.ts';
/** Real Kafka, S3 and RTSP. */
const endToEnd = {
  ...patient,
  globalSetup: './test/support/share-servers.ts',
  setupFiles: [CPU_SECONDS, './test/support/await-servers.ts'],
};
/** Of the code alone: no server of others. */
const unit = {
  // Many wait for a timer or a process, so that three keep two cores busy. Vitest leaves one core alone.
  maxWorkers: Math.max(3, availableParallelism() - 1),
  retry,
  testTimeout: 20_000,
  hookTimeout: 60_000,
  expect: { poll: { timeout: 10_000 } },
};
/** A process for each file, and its imports, took half of the time of all. */
const sharing = { isolate: false, setupFiles: [CPU_SECONDS, CLEAN_SLATE] };
const UNIT = ['{packages,functions,ingest-host}/**/src/**/*.test.ts', 'test/*.test.ts'];
/** The model server forbids its process all kinds of pictures but three: others draw letters by SVG. */
const MODEL = ['model/**/src/**/*.test.ts'];
/** Each has a worker of its own. */
const ALONE = [
  // They replace modules that others have loaded already, or load them anew.
  'functions/src/secrets.test.ts',
  'ingest-host/src/ingest-stream.test.ts',
  'model/src/families.test.ts',
  'packages/local/src/servers/java.test.ts',
  'packages/local/src/stack.test.ts',
  'test/stage-contract.test.ts',
  'test/variables.test.ts',
  // It names as many streams as a process may.
  'packages/telemetry/src/emf.test.ts',
  // It reads all that its process has counted.
  'packages/event-source/src/metrics.test.ts',
  // Its collector has to be there before any module of ours.
  'test/tracing.test.ts',
];
/** Whole campaigns: run by `npm run test:proofs`, and by CI. Each also has a form that goes on for longer. */
const PROOFS = ['test/faults/{cluster,faults,outages}.test.ts', 'test/hostile/hostile.test.ts'];

const isShuffled = process.argv.some((arg) => arg.startsWith('--sequence.shuffle'));

export default defineConfig({
  test: {
    // As the product runs: Node loads TypeScript itself. It takes a fifth less of the time of the units.
    experimental: { viteModuleRunner: false },
    setupFiles: CPU_SECONDS,
    // By `npm run test:coverage`: what the tests beside the code reach of it.
    coverage: {
      include: ['{packages,functions,ingest-host,model}/**/src/**/*.ts'],
      exclude: ['**/*.test.ts'],
      reporter: ['text-summary'],
    },
    sequence: isShuffled ? {} : { sequencer: LongestFirst },
    reporters: ['default', './test/closing-line.ts'],
    projects: [
      {
        test: {
          ...unit,
          name: 'unit',
          include: UNIT,
          exclude: ALONE,
          ...sharing,
        },
      },
      {
        test: {
          ...unit,
          name: 'unit-model',
          include: MODEL,
          exclude: ALONE,
          ...sharing,
        },
      },
      {
        test: {
          ...unit,
          name: 'unit-alone',
          include: ALONE,
          // Vite's loader alone can load a module anew.
          experimental: { viteModuleRunner: true },
        },
      },
      {
        // Most of them wait most of the time: for a process to start, or an outage to be told.
        test: {
          ...endToEnd,
          name: 'e2e',
          isolate: false,
          setupFiles: [...endToEnd.setupFiles, CLEAN_SLATE],
          include: ['test/{e2e,faults,hostile}/**/*.test.ts'],
          exclude: PROOFS,
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...patient,
          ...sharing,
          name: 'e2e-infra',
          include: ['test/infra/**/*.test.ts'],
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: { ...endToEnd, name: 'proofs', include: PROOFS, maxWorkers: 1 },
      },
      {
        // AWS's own engines, or what stands in for them, fetched or built on demand: run by `npm run test:aws`.
        test: {
          ...endToEnd,
          name: 'aws',
          include: ['test/aws/**/*.test.ts'],
          maxWorkers: 1,
          testTimeout: 240_000,
          hookTimeout: 600_000,
        },
      },
      {
        // Every command of the documents, on a stack of its own: run by `npm run test:documents`.
        test: {
          ...patient,
          name: 'documents',
          include: ['test/documents/**/*.test.ts'],
        },
      },
      {
        // What a busy machine may fail: run by `npm run bench:console`, never by `npm test`.
        test: {
          name: 'bench',
          include: ['test/bench/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});
