/** Frames that annotate processes at the same time: some are drawn while others are uploaded to S3. */
export const FRAMES_IN_WORK = 4;
