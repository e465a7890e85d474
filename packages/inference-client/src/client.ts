import type { Detection, Frame } from '@video-pipeline/frame';

/** The detections of one model in one frame, or why this frame alone could not be processed. */
export type FrameResult =
  | {
      model: string;
      /** Size of the decoded picture, pixels. */
      width: number;
      height: number;
      /** Detections inside the picture, with at least the threshold's confidence. */
      detections: Detection[];
    }
  | { model: string; error: string };

/** Finds objects in frames. */
export interface InferenceClient {
  /**
   * @param model name of the model to use; left out, or if the server does not have it, the server's default model
   * @returns one result a frame, in the frames' order; each names its model
   * @throws InferenceClientError when there is no answer for the frames as a whole
   */
  detect(frames: readonly Frame[], model?: string): Promise<FrameResult[]>;
}

/**
 * The inference server can't be reached, refuses, takes too long, or gives an answer that is not valid. A later attempt
 * may succeed: the frames should be sent again.
 */
export class InferenceClientError extends Error {
  override readonly name = 'InferenceClientError';
  /** HTTP status, where there was one. */
  readonly status: number | undefined;

  constructor(message: string, options: ErrorOptions & { status?: number } = {}) {
    super(message, options);
    this.status = options.status;
  }
}
