/** Says in `--help` how the bucket is found: `packages/cli/src/operate.ts` reads these options. */
export const BUCKET_HELP = `
Works on the pipeline that runs on this machine (--data-dir <folder> for another than .data), on a deployed one with
--stage <name>, or on the bucket that AWS_ENDPOINT_URL and S3_BUCKET name.`;
