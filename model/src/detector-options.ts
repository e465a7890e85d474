import type { Detection } from '@video-pipeline/frame';
import type { DeviceUse } from './device-use.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import type { ModelFile } from './model-file.ts';
import type { DecodeOptions } from './picture.ts';

/** The detections of one picture, or the reason why there are none. `width` and `height` in pixels. */
export type PictureResult = { width: number; height: number; detections: Detection[] } | { error: string };

export interface DetectRequest {
  pictures: readonly Uint8Array[];
  /** 0..1 */
  threshold: number;
  /** Id of the client: clients are served in turn. */
  client: string;
  /** Ends the request. Its pictures that have not begun are dropped. */
  signal: AbortSignal;
}

/** Frames in the size of the model's input, for which the raw outputs are wanted. */
export type TensorRequest = Pick<WorkerJob, 'dims' | 'frames'> & Pick<DetectRequest, 'client' | 'signal'>;

/** A model on its runtime, and what limits and observes its detector. */
export interface DetectorOptions extends Omit<DeviceUse, 'device' | 'pool'>, Pick<DecodeOptions, 'resize'> {
  model: ModelFile;
  pool: Runtime;
  device: string;
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels: number;
  /** Most pictures that may wait. A request that would exceed it is refused. */
  maxQueue: number;
  observe(step: 'queue' | 'picture' | 'batch' | 'inference' | 'head', seconds: number): void;
  observeBatch(size: number): void;
  /** Called with the number of pictures of a batch that may have had more candidates than the model's graph returns. */
  observeCut(pictures: number): void;
  /** Called when the runtime could not be made ready for another size of input. */
  onWarmUpError(error: Error): void;
}
