import type { Detection, Frame } from '@video-pipeline/frame';

/** What one model saw in one frame, or why that frame, and that frame alone, could not be looked at. */
export type FrameResult =
  | {
      model: string;
      /** Size of the decoded picture, pixels. */
      width: number;
      height: number;
      /** Inside the picture, at or above the threshold. */
      detections: Detection[];
    }
  | { model: string; error: string };

/** Finds objects in frames. */
export interface InferenceClient {
  /**
   * @param model the one that shall look, by its name; without it, or where the server has none of that name, its default one
   * @returns one result a frame, in the frames' order; each says which model it is of
   * @throws InferenceClientError when there is no answer for the frames as a whole
   */
  detect(frames: readonly Frame[], model?: string): Promise<FrameResult[]>;
}

/**
 * The inference server can't be reached, refuses, takes too long or gives an answer that makes no sense. Time may
 * cure it: the frames should be tried again.
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
