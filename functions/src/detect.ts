import { readConfig } from '@video-pipeline/config';
import { createDetector, type Detector, DetectorError, type FrameResult } from '@video-pipeline/detector';
import { type DetectedFrame, decodeFrame, type Frame, type MSKEvent } from '@video-pipeline/frame';
import { connectKafka, orderedProducer } from '@video-pipeline/kafka';
import { createQuarantine, createStore } from '@video-pipeline/storage';
import { createLogger, emitMetrics } from '@video-pipeline/telemetry';
import { createPublish, type Publish } from './publish.ts';
import { byStream, decodeRecords, type FailureDependencies, type Received, setAside } from './records.ts';

export interface DetectDependencies extends FailureDependencies {
  detector: Detector;
  publish: Publish;
}

/**
 * The Lambda that looks for objects: a batch of `video-frames` goes to the detector, what it saw to `detections`.
 * A frame that can't be looked at is put into quarantine; any other fault fails the batch, to be delivered again.
 */
export function createDetect(dependencies: DetectDependencies) {
  const { detector, publish } = dependencies;
  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeFrame);
    const started = performance.now();
    const results = received.length > 0 ? await detector.detect(received.map(({ frame }) => frame)) : [];
    const inferenceMs = performance.now() - started;

    const detected: Received<DetectedFrame>[] = [];
    for (const [index, { record, frame }] of received.entries()) {
      const seen = judge(frame, results[index]);
      if (typeof seen === 'string') failures.push({ record, reason: seen });
      else detected.push({ record, frame: seen });
    }
    await Promise.all([
      publish(detected.map(({ frame }) => frame)),
      setAside('detect', failures, dependencies),
    ]);
    report(detected, inferenceMs);
  };
}

/** The frame with its detections, or why there are none to be had. */
function judge(frame: Frame, result: FrameResult | undefined): DetectedFrame | string {
  if (!result) throw new DetectorError('the detector gave fewer results than frames');
  if ('error' in result) return result.error;
  const { model, width, height, detections } = result;
  if (width !== frame.width || height !== frame.height) {
    return `the JPEG is ${width}x${height} pixels, its record says ${frame.width}x${frame.height}`;
  }
  return { ...frame, detections, model };
}

function report(detected: readonly Received<DetectedFrame>[], inferenceMs: number): void {
  for (const [stream, frames] of byStream(detected)) {
    emitMetrics('detect', stream, {
      FramesDetected: frames.length,
      Detections: frames.reduce((sum, { frame }) => sum + frame.detections.length, 0),
      InferenceTime: inferenceMs,
    });
  }
}

const logger = createLogger('detect');
const { KAFKA_DETECTIONS_TOPIC } = readConfig(['KAFKA_DETECTIONS_TOPIC']);

/** The handler as Lambda runs it, wired from the environment. Nothing is connected before the first batch. */
export const handler = createDetect({
  detector: createDetector(),
  publish: createPublish(orderedProducer(connectKafka('detect', logger)), KAFKA_DETECTIONS_TOPIC),
  quarantine: createQuarantine(createStore(), 'detect'),
  logger,
});
