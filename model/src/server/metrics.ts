import { addGauge, processRegistry, type Sample } from '@video-pipeline/http';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { Detector, DetectorOptions } from '../detector.ts';
import type { GpuReading, ReadGpus } from '../gpu.ts';

/**
 * The server's metrics for Prometheus.
 * @param gpus without it, there are no metrics of GPUs
 */
export function createMetrics(detectors: () => ReadonlyMap<string, Detector>, gpus?: ReadGpus) {
  const registry = processRegistry();
  const registers = [registry];
  const steps = new Histogram({
    name: 'inference_step_seconds',
    help: 'Time of one step: queue, picture (decode and letterbox), batch (wait and run), inference, head',
    labelNames: ['step'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  const batches = new Histogram({
    name: 'inference_batch_size',
    help: 'Frames that the runtime got at once',
    buckets: [1, 2, 4, 8, 16, 25, 32, 64],
    registers,
  });
  const requests = new Histogram({
    name: 'inference_request_seconds',
    help: 'Time of one request by route and status',
    labelNames: ['route', 'status'],
    registers,
  });
  const frames = new Counter({
    name: 'inference_frames_total',
    help: 'Frames answered: with detections, or with an error of their own',
    labelNames: ['result'],
    registers,
  });
  const cut = new Counter({
    name: 'inference_candidates_cut_total',
    help: 'Frames that may have had more candidates than the model chooses (--candidates)',
    registers,
  });
  const errors = new Counter({
    name: 'inference_errors_total',
    help: 'Requests refused or failed, by the setting that they exceeded or the name of the error',
    labelNames: ['kind'],
    registers,
  });
  const gauge = (
    name: string,
    help: string,
    labels: readonly string[],
    read: (model: string, detector: Detector) => Sample | undefined,
  ) =>
    addGauge(registry, name, help, labels, () =>
      Array.from(detectors(), ([model, detector]) => read(model, detector)).filter(
        (sample) => sample !== undefined,
      ),
    );
  gauge(
    'inference_model_info',
    'Always 1; which model runs where',
    ['model', 'version', 'device'],
    (name, { model, device }) => [{ model: name, version: model.version, device }, 1],
  );
  gauge(
    'inference_precision_info',
    'Always 1; what the runtime of a model computes with',
    ['model', 'device', 'precision'],
    (model, { device, precision }) => [{ model, device, precision }, 1],
  );
  gauge(
    'inference_device_fallback_info',
    'Always 1; models that run on the CPU because --device auto found no usable GPU, and why',
    ['model', 'reason'],
    (model, { fallback: reason }) => (reason ? [{ model, reason }, 1] : undefined),
  );
  gauge('inference_queued_frames', 'Frames that wait in the queue', ['model'], (model, { queued }) => [
    { model },
    queued,
  ]);
  gauge(
    'inference_input_sizes',
    'Sizes of input that the runtime has been made ready for',
    ['model'],
    (model, { inputSizes }) => [{ model }, inputSizes.count],
  );
  if (gpus) addGpuMetrics(gpus, registry);
  const observers: Pick<DetectorOptions, 'observe' | 'observeBatch' | 'observeCut'> = {
    observe: (step, seconds) => steps.observe({ step }, seconds),
    observeBatch: (size) => batches.observe(size),
    observeCut: (pictures) => cut.inc(pictures),
  };
  return { registry, requests, frames, errors, observers };
}

function addGpuMetrics(gpus: ReadGpus, registry: Registry): void {
  const gauge = (name: string, help: string, value: (reading: GpuReading) => number | undefined) =>
    addGauge(registry, name, help, ['gpu'], async () =>
      (await gpus()).flatMap((reading) => {
        const known = value(reading);
        return known === undefined ? [] : [[{ gpu: reading.index }, known] as const];
      }),
    );
  const whose = 'of the whole GPU, whoever uses it';
  gauge('inference_gpu_memory_used_bytes', `Memory in use ${whose}`, (gpu) => gpu.memoryUsedBytes);
  gauge('inference_gpu_memory_total_bytes', `Memory ${whose}`, (gpu) => gpu.memoryTotalBytes);
  gauge('inference_gpu_utilization_ratio', `Utilisation ${whose}`, (gpu) => gpu.utilisation);
}

export type Metrics = ReturnType<typeof createMetrics>;
