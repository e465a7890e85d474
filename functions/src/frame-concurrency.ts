/** Frames that annotate processes at the same time: some are drawn while others are uploaded to S3. */
export const FRAME_CONCURRENCY = 4;
