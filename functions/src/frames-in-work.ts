/** Frames that annotate has in work at once: while some are drawn, others are on their way to S3. */
export const FRAMES_IN_WORK = 4;
