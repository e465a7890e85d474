import type { Detection, FrameFacts } from '@video-pipeline/frame';

export interface ServedModel {
  name: string;
  /** Names of its classes, by id. */
  classes: string[];
}

/** The model of a stream, and which detections are kept. */
export interface StreamDetection {
  /** Left out: the server's default model. */
  model?: string | undefined;
  /** Left out: all classes. */
  classes?: string[] | undefined;
  /** 0..1. Detections below the pipeline's own threshold are never there. */
  min_confidence?: number | undefined;
  models: ServedModel[];
  /** Why no models are listed. */
  problem?: string;
  /** Whether it can be saved, since the list of streams is a file. */
  writable: boolean;
}

/** The newest picture with its current detections, and with those that the draft would give. */
export interface DetectionPreview {
  frame: FrameFacts;
  /** The model that gave them. */
  model: string;
  detections: Detection[];
}
