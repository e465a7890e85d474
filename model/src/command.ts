import { resolve } from 'node:path';
import { defaultModelPath } from '@video-pipeline/assets';
import { readConfig, variables } from '@video-pipeline/config';
import { exitWithError, expectLargeBuffers, onShutdown, reportReady } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { createLogger } from '@video-pipeline/telemetry';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import type { Detector } from './detector.ts';
import { devices, selects } from './device-use.ts';
import { findGpus } from './gpu.ts';
import { heads } from './heads/index.ts';
import type { InspectOptions } from './inspect.ts';
import { type LoadOptions, loadDetector } from './load-detector.ts';
import { ModelSet } from './model-set.ts';
import { buildNanodet } from './nanodet/build.ts';
import type { DecodeOptions } from './picture.ts';
import type { QuantiseOptions } from './quantise.ts';
import { createApp } from './server/app.ts';
import { createMetrics } from './server/metrics.ts';
import { SAGEMAKER_PORT } from './server/sagemaker.ts';
import { precisions } from './session.ts';

interface Options extends Omit<LoadOptions, 'detector'> {
  model?: string;
  modelDir?: string;
  classThreshold: Map<string, number>;
  resize: DecodeOptions['resize'];
  host: string;
  port: number;
}

/** How often a folder of models is polled, milliseconds. Network file systems report no changes. */
const FOLDER_INTERVAL_MS = 2_000;

const logger = createLogger('model');

async function main(mode: string | undefined, options: Options): Promise<void> {
  const config = readConfig([
    'INFERENCE_CONFIDENCE_THRESHOLD',
    'MAX_BODY_BYTES',
    'MAX_REQUEST_FRAMES',
    'MAX_CONCURRENT_REQUESTS',
    'MAX_QUEUED_FRAMES',
    'MAX_FRAME_PIXELS',
    'REQUEST_TIMEOUT_SECONDS',
    'SHUTDOWN_GRACE_SECONDS',
  ]);
  let models: Pick<ModelSet, 'detectors' | 'close'> = { detectors: new Map(), close: async () => {} };
  const metrics = createMetrics(() => models.detectors, await findGpus());
  let isReady = false;
  // SageMaker starts its containers with the argument `serve` and calls this port.
  const { host, port } = mode === 'serve' ? { host: '0.0.0.0', port: SAGEMAKER_PORT } : options;
  const app = await createApp(
    {
      detectors: () => models.detectors,
      threshold: config.INFERENCE_CONFIDENCE_THRESHOLD,
      limits: {
        maxBodyBytes: config.MAX_BODY_BYTES,
        maxFrames: config.MAX_REQUEST_FRAMES,
        maxRequests: config.MAX_CONCURRENT_REQUESTS,
        requestMs: config.REQUEST_TIMEOUT_SECONDS * 1000,
      },
      host,
      metrics,
      isReady: () => isReady && [...models.detectors.values()].every(({ isHealthy }) => isHealthy),
    },
    logger,
  );
  let loading: Promise<unknown> = Promise.resolve();
  const stop = async () => {
    isReady = false;
    await app.close();
    await loading.catch(() => {});
    await models.close();
  };
  onShutdown(stop, logger, config.SHUTDOWN_GRACE_SECONDS * 1000);
  // The server listens before the model is loaded, so that /health can say that it is warming up.
  const url = await app.listen({ host, port });
  const opening = openModels(options, {
    ...options,
    note: (line) => logger.info(line),
    classThresholds: options.classThreshold,
    detector: {
      maxQueue: config.MAX_QUEUED_FRAMES,
      maxPixels: config.MAX_FRAME_PIXELS,
      resize: options.resize,
      onWarmUpError: (error) => logger.error('the runtime failed at the warm-up for a new input size', error),
      ...metrics.observers,
    },
  });
  loading = opening.then((opened) => {
    models = opened;
    isReady = true;
  });
  await loading;
  expectLargeBuffers();
  for (const { model, device, precision, fallback } of models.detectors.values()) {
    const { name, version, head: family, proofSeconds } = model;
    logger.info('serving', {
      url,
      model: name,
      version,
      family,
      device,
      precision,
      device_fallback: fallback,
      proof_seconds: Math.round(proofSeconds * 100) / 100,
    });
  }
  reportReady({ url });
}

async function openModels(
  options: Options,
  load: LoadOptions,
): Promise<Pick<ModelSet, 'detectors' | 'close'>> {
  if (options.modelDir) {
    const set = await ModelSet.open(options.modelDir, {
      // Another model of the folder may have the class.
      load: (path, onWeights) =>
        loadDetector(path, { ...load, onWeights, onUnknownClass: (problem) => logger.warn(problem) }),
      log: logger,
    });
    set.watch(FOLDER_INTERVAL_MS);
    return set;
  }
  if (!options.model) await buildNanodet((line) => logger.info(line));
  const detector: Detector = await loadDetector(resolve(options.model ?? defaultModelPath()), load);
  return { detectors: new Map([[detector.model.name, detector]]), close: () => detector.close() };
}

const number = numberThat((value) => !Number.isNaN(value), 'a number');

/** `8,25` */
function batchSizes(text: string): number[] {
  const { data, error } = variables.INFERENCE_BATCH_SIZES.safeParse(text);
  if (!data) throw new InvalidArgumentError(error?.issues[0]?.message ?? 'must be numbers');
  return data;
}

const oneOf = (flags: string, description: string, values: readonly string[], usual?: string) =>
  new Option(flags, description).choices(values).default(usual);

/** `person=0.6` */
function classThreshold(text: string, before: Map<string, number>): Map<string, number> {
  const [, name = '', value = ''] = /^(.+)=(.+)$/.exec(text) ?? [];
  return new Map(before).set(name, number(value));
}

async function commandLine(): Promise<void> {
  const defaults = readConfig([
    'HOST',
    'PORT',
    'MODEL_PATH',
    'MODEL_DIR',
    'INFERENCE_DEVICE',
    'INFERENCE_PRECISION',
    'INFERENCE_THREADS',
    'INFERENCE_BATCH_SIZES',
    'INFERENCE_CONFIDENCE_THRESHOLD',
    'MAX_FRAME_PIXELS',
  ]);

  const family = oneOf('--head <family>', 'family of the model (default: recognised)', Object.keys(heads));
  const names = [
    '--names <file>',
    'names of the classes, one a line, for a model that does not name them',
  ] as const;
  const command = new Command('npm run model --');
  const tool = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .argument('<file.onnx>')
      .addOption(family)
      .option(...names)
      .option(
        '--confidence <share>',
        'objects with a lower confidence are left out, 0..1',
        number,
        defaults.INFERENCE_CONFIDENCE_THRESHOLD,
      )
      .option('--json', 'print JSON', false);
  tool(
    'inspect',
    "Print a model's metadata, the head that reads it and why others don't; draw its detections on a picture.",
  )
    .option('--picture <file>', 'picture to detect in (default: a synthetic one)')
    .option(
      '--output <file.jpg>',
      'where the picture with the detections is written (default: <model>-inspected.jpg)',
    )
    .action(async (file: string, options: Omit<InspectOptions, 'maxPixels'> & { json: boolean }) => {
      const { inspect, report } = await import('./inspect.ts');
      const found = await inspect(file, { ...options, maxPixels: defaults.MAX_FRAME_PIXELS });
      console.log(options.json ? JSON.stringify(found) : report(found));
      if (found.refusal) process.exitCode = 1;
    });
  tool(
    'quantise',
    'Writes a model in int8 by onnxruntime, and prints what that costs in boxes and confidences.',
  )
    .requiredOption(
      '--pictures <folder>',
      'some dozens of pictures as the cameras send them, to calibrate on',
    )
    .option('--output <file.onnx>', 'where it is written (default: <model>-int8.onnx)')
    .action(
      async (file: string, options: Omit<QuantiseOptions, 'maxPixels' | 'note'> & { json: boolean }) => {
        const { costReport, quantise } = await import('./quantise.ts');
        const cost = await quantise(file, {
          ...options,
          maxPixels: defaults.MAX_FRAME_PIXELS,
          note: (line) => console.error(line),
        });
        console.log(options.json ? JSON.stringify(cost) : costReport(cost));
      },
    );
  await command
    .description(
      'Object detection over HTTP: /predict, Open Inference Protocol v2, SageMaker. Serves ONNX files.',
    )
    .addArgument(new Argument('[mode]', 'as SageMaker passes it: listen on 0.0.0.0:8080').choices(['serve']))
    .option(
      '--model <file.onnx>',
      'ONNX file to serve; without it NanoDet-g, which is built when absent',
      defaults.MODEL_PATH,
    )
    .option(
      '--model-dir <folder>',
      'serve all models of a folder, and reload them when they change',
      defaults.MODEL_DIR,
    )
    .addOption(family)
    .option(...names)
    .addOption(oneOf('--device <device>', 'where it runs', devices, defaults.INFERENCE_DEVICE))
    .addOption(
      oneOf(
        '--precision <numbers>',
        'number format on a CPU: bf16 is faster by OpenVINO where supported, and less exact; int8 refuses other models',
        precisions,
        defaults.INFERENCE_PRECISION,
      ),
    )
    .option(
      '--threads <n>',
      'inference threads on a CPU, 0 for one a core',
      number,
      defaults.INFERENCE_THREADS,
    )
    .option(
      '--batch-sizes <n,...>',
      'preferred batch sizes, the largest is the limit (default: 1 on a CPU, 25 on a GPU)',
      batchSizes,
      defaults.INFERENCE_BATCH_SIZES,
    )
    .option(
      '--batch-delay <ms>',
      'longest wait for a batch to reach one of them (default: 0 on a CPU, 10 on a GPU)',
      number,
    )
    .option('--iou <overlap>', 'overlap over which the weaker of two boxes is dropped, 0..1', number)
    .option('--class-agnostic', 'boxes of different classes suppress each other too', false)
    .option(
      '--class-threshold <name=confidence>',
      'threshold of one class, may be repeated',
      classThreshold,
      new Map(),
    )
    .addOption(
      oneOf(
        '--resize <how>',
        'how frames are scaled: `opencv` as the Python tools do it, to the bit; `fast` shrinks large JPEGs first: boxes move',
        ['fast', 'opencv'],
        'opencv',
      ),
    )
    .addOption(
      oneOf(
        '--select <where>',
        'where the best candidates are chosen: in the graph, which spares copies from a GPU, or on the host',
        selects,
        'auto',
      ),
    )
    .option('--candidates <n>', 'most candidates of a frame that the graph chooses', number, 1000)
    .option('--max-detections <n>', 'most objects in a frame', number, 300)
    .option('--host <address>', 'address to listen on', defaults.HOST)
    .option('--port <n>', 'port to listen on', number, defaults.PORT)
    .action(main)
    .parseAsync();
}

await commandLine().catch(exitWithError);
