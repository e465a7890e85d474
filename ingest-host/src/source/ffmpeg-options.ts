import { z } from 'zod';

const text = z.string().regex(/^[ -~]{1,200}$/, 'must be printable ASCII, at most 200 characters');
const flag = z.literal([0, 1]);

/**
 * FFmpeg's options of demuxers and protocols that a stream may set, by FFmpeg's names (ffmpeg-formats,
 * ffmpeg-protocols). Dangerous options are left out: protocols, files, proxies and unlimited sizes.
 */
export const ffmpegOptions = z
  .strictObject({
    /** Bytes. */
    probesize: z.int().min(32).max(8_000_000),
    /** Microseconds. */
    analyzeduration: z.int().min(0).max(30_000_000),
    fflags: z
      .string()
      .regex(
        /^(\+?(nobuffer|discardcorrupt|genpts|igndts|sortdts))+$/,
        'must be of +nobuffer +discardcorrupt +genpts +igndts +sortdts',
      ),
    use_wallclock_as_timestamps: flag,
    /** Microseconds. */
    max_delay: z.int().min(0).max(10_000_000),
    /** Frames a second of an elementary stream. */
    framerate: z.number().min(0.1).max(240),
    user_agent: text,
    referer: text,
    /** First segment of an HLS list; negative numbers count from its end. */
    live_start_index: z.int().min(-1000).max(1000),
    seg_max_retry: z.int().min(0).max(10),
    scan_all_pmts: flag,
    rtmp_live: z.enum(['any', 'live', 'recorded']),
    /** Milliseconds. */
    rtmp_buffer: z.int().min(0).max(60_000),
  })
  .partial();
export type FFmpegOptions = z.output<typeof ffmpegOptions>;

export function optionsOf(values: FFmpegOptions = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}
