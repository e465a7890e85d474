/** Frames that annotate processes at the same time: some are drawn while others are uploaded to S3. */
export const FRAME_CONCURRENCY = 4;
/** Streams whose earlier records are read at the same time: each read takes a dozen megabytes. */
export const STREAM_CONCURRENCY = 4;
