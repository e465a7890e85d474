import type { Detection } from '@video-pipeline/frame';
import type { Runtime } from './inference-pool.ts';
import type { ModelFile } from './model-file.ts';
import type { DecodeOptions } from './picture.ts';
import type { Precision } from './session.ts';

/** What was seen in one picture, or why nothing could be. `width` and `height` in pixels. */
export type PictureResult = { width: number; height: number; detections: Detection[] } | { error: string };

export interface DetectRequest {
  pictures: readonly Uint8Array[];
  /** 0..1 */
  threshold: number;
  /** Who asks: clients are served in turn. */
  client: string;
  /** Ends the request: pictures that are not begun then never are. */
  signal: AbortSignal;
}

export interface DetectorOptions extends Pick<DecodeOptions, 'resize'> {
  model: ModelFile;
  pool: Runtime;
  /** Where the pool's threads run the model. */
  device: string;
  /** What the runtime computes with. */
  precision: Precision;
  /** Why it is not where it should be, in one line. */
  fallback?: string;
  /** By class name, thresholds that take the place of the request's, 0..1. */
  classThresholds: ReadonlyMap<string, number>;
  /** Preferred numbers of pictures that the runtime gets at once, ascending; the largest is the most. */
  batchSizes: readonly number[];
  /** Longest wait for a batch to fill, milliseconds. */
  batchDelayMs: number;
  /** Whether the runtime prepares itself for each shape of input, as GPUs do, when it first sees it. */
  tunesShapes: boolean;
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels: number;
  /** Most pictures that wait; a request that would exceed it is refused. */
  maxQueue: number;
  /** Called after each step of each picture. */
  observe(step: 'queue' | 'picture' | 'batch' | 'inference' | 'head', seconds: number): void;
  /** Called with the size of each batch. */
  observeBatch(size: number): void;
  /** Called with how many pictures of a batch may have had more candidates than the model chooses. */
  observeCut(pictures: number): void;
  /** Called when the runtime could not be made ready for another size of input. */
  onWarmUpError(error: Error): void;
}
