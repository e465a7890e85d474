import type { Detection, FrameFacts } from '@video-pipeline/frame';

/** A model of the inference server. */
export interface ServedModel {
  name: string;
  /** Names of its classes by their ids. */
  classes: string[];
}

/** By which model a stream's objects are found, and which are kept. */
export interface StreamDetection {
  /** The server's default one without it. */
  model?: string | undefined;
  /** All without it. */
  classes?: string[] | undefined;
  /** 0..1; what is under the pipeline's own threshold never comes. */
  min_confidence?: number | undefined;
  models: ServedModel[];
  /** Why there are no models to choose from. */
  problem?: string;
  /** Whether it can be saved: the list of streams is a file. */
  writable: boolean;
}

/** The newest picture as it was told of, and what would be told of it. */
export interface DetectionPreview {
  frame: FrameFacts;
  /** By which model. */
  model: string;
  detections: Detection[];
}
