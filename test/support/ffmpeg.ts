import { execFileSync } from 'node:child_process';
import sharp from 'sharp';

/** The reason why there is no system ffmpeg to compare with; undefined if there is one. */
export function ffmpegAbsent(): string | undefined {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'not installed: apt-get install ffmpeg';
  }
}

/** Runs the system's ffmpeg; `out` is overwritten. */
export function ffmpeg(args: string, out: string): string {
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...args.split(' '), out], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return out;
}

/** Pictures as ffmpeg itself decodes them, RGB. @param args before and after the input, `{}` */
export function decoded(file: string, width: number, height: number, filter: string): Buffer[] {
  const args = ['-v', 'error', '-i', file, '-map', '0:v', '-vf', filter, '-fps_mode', 'passthrough'];
  const all = execFileSync('ffmpeg', [...args, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'], {
    maxBuffer: 1e9,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const size = width * height * 3;
  return Array.from({ length: all.length / size }, (_, index) =>
    all.subarray(index * size, (index + 1) * size),
  );
}

/** Peak signal-to-noise ratio of a JPEG against RGB pixels, dB. */
export async function psnr(jpeg: Buffer, expected: Buffer): Promise<number> {
  const pixels = await sharp(jpeg).removeAlpha().raw().toBuffer();
  let squares = 0;
  for (let at = 0; at < expected.length; at += 1) squares += ((pixels[at] ?? 0) - (expected[at] ?? 0)) ** 2;
  return 10 * Math.log10((255 * 255 * expected.length) / Math.max(squares, 1));
}
