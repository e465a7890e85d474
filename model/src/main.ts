import { resolve } from 'node:path';
import { readConfig } from '@video-pipeline/config';
import { exitWithError, onShutdown, reportReady } from '@video-pipeline/lifecycle';
import { createLogger } from '@video-pipeline/telemetry';
import { Command, Option } from 'commander';
import { Detector } from './detector.ts';
import { type Device, devices, startOn } from './device.ts';
import { type HeadName, heads } from './heads/index.ts';
import { readModelFile } from './model-file.ts';
import { buildNanodet, nanodetPath } from './nanodet/build.ts';
import { createApp } from './server/app.ts';
import { createMetrics } from './server/metrics.ts';
import { SAGEMAKER_PORT } from './server/sagemaker.ts';
import type { Service } from './server/service.ts';

interface Options {
  model?: string;
  head?: HeadName;
  device: Device;
  threads: number;
  batchSize?: number;
  iou?: number;
  classAgnostic: boolean;
  maxDetections: number;
  host: string;
  port: number;
}

/** Overlap for non-maximum suppression where the model's file says nothing: Ultralytics' default. */
const DEFAULT_IOU = 0.7;

const logger = createLogger('model');

async function main(mode: string | undefined, options: Options): Promise<void> {
  const config = readConfig([
    'INFERENCE_CONFIDENCE_THRESHOLD',
    'MAX_BODY_BYTES',
    'MAX_REQUEST_FRAMES',
    'MAX_CONCURRENT_REQUESTS',
    'MAX_QUEUED_FRAMES',
    'MAX_FRAME_PIXELS',
    'SHUTDOWN_GRACE_SECONDS',
  ]);
  const path = await modelPath(options.model);
  const model = await readModelFile(path, options.head);
  const suppression = {
    iou: options.iou ?? model.metadata.iou ?? DEFAULT_IOU,
    classAgnostic: options.classAgnostic,
    maxDetections: options.maxDetections,
  };
  const use = await startOn(
    options.device,
    { onnx: model.onnx, head: model.head, suppression },
    options.threads,
  );

  let detectors: ReadonlyMap<string, Detector> = new Map();
  let isReady = false;
  const metrics = createMetrics(() => [...detectors.values()].reduce((sum, { queued }) => sum + queued, 0));
  const detector = new Detector({
    model,
    pool: use.pool,
    batchSize: Math.min(options.batchSize ?? use.batchSize, model.batchSize ?? Number.POSITIVE_INFINITY),
    batchDelayMs: use.batchDelayMs,
    maxQueue: config.MAX_QUEUED_FRAMES,
    maxPixels: config.MAX_FRAME_PIXELS,
    ...metrics.observers,
  });
  await detector.warmUp();
  detectors = new Map([[model.name, detector]]);
  metrics.info.set({ model: model.name, version: model.version, device: use.device }, 1);

  const service: Service = {
    detectors,
    device: use.device,
    threshold: config.INFERENCE_CONFIDENCE_THRESHOLD,
    limits: {
      maxBodyBytes: config.MAX_BODY_BYTES,
      maxFrames: config.MAX_REQUEST_FRAMES,
      maxRequests: config.MAX_CONCURRENT_REQUESTS,
    },
    metrics,
    isReady: () => isReady && detector.isHealthy,
  };
  const app = await createApp(service, logger);
  onShutdown(
    async () => {
      isReady = false;
      await app.close();
      await detector.close();
    },
    logger,
    config.SHUTDOWN_GRACE_SECONDS * 1000,
  );
  // SageMaker starts its containers with the argument `serve` and calls this port.
  const address = mode === 'serve' ? { host: '0.0.0.0', port: SAGEMAKER_PORT } : options;
  isReady = true;
  const url = await app.listen({ host: address.host, port: address.port });
  logger.info('serving', {
    url,
    model: model.name,
    version: model.version,
    device: use.device,
    threads: use.pool.size,
  });
  reportReady({ url });
}

async function modelPath(file: string | undefined): Promise<string> {
  if (file) return resolve(file);
  await buildNanodet(nanodetPath(), { note: (line) => logger.info(line) });
  return nanodetPath();
}

const number = (text: string) => Number(text);
const config = readConfig(['HOST', 'PORT', 'MODEL_PATH', 'INFERENCE_DEVICE', 'INFERENCE_THREADS']);

await new Command('model')
  .description(
    'Object detection over HTTP: /predict, Open Inference Protocol v2, SageMaker. Serves an ONNX file.',
  )
  .argument('[mode]', '`serve`, as SageMaker says: listen on 0.0.0.0:8080')
  .option('--model <file.onnx>', 'the model; NanoDet-g, built when absent, without it', config.MODEL_PATH)
  .addOption(new Option('--head <family>', 'family of the model').choices(Object.keys(heads)))
  .addOption(
    new Option('--device <device>', 'where it runs').choices(devices).default(config.INFERENCE_DEVICE),
  )
  .option('--threads <n>', 'inference threads on a CPU, 0 for one a core', number, config.INFERENCE_THREADS)
  .option(
    '--batch-size <n>',
    'most frames the runtime gets at once (default: 1 on a CPU, 25 on a GPU)',
    number,
  )
  .option('--iou <overlap>', 'overlap over which the weaker of two boxes is dropped, 0..1', number)
  .option('--class-agnostic', 'boxes of different classes suppress each other too', false)
  .option('--max-detections <n>', 'most objects in a frame', number, 300)
  .option('--host <address>', 'address to listen on', config.HOST)
  .option('--port <n>', 'port to listen on', number, config.PORT)
  .action(main)
  .parseAsync()
  .catch(exitWithError);
