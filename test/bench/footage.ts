import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CLIPS, cacheDir, fetchAsset } from '@video-pipeline/assets';
import sharp from 'sharp';

// FFmpeg is loaded only where the cache lacks what it makes: a machine that is lent for a GPU may not have it.
const ffmpeg = () => import('node-av/api');

const WIDTH = 1280;
const HEIGHT = 720;
// Sharpened and with a sensor's noise: an upscaled picture alone is smoother, and cheaper, than a camera's.
const FILTER = `scale=${WIDTH}:${HEIGHT}:flags=bicubic,setsar=1,unsharp,noise=alls=5:allf=t,format=yuv420p`;

/** A demo clip as a 720p camera would give it: 1280x720, 25 fps, H.264, a key frame a second. Made once, cached. */
export async function footage720p(): Promise<string> {
  const path = join(cacheDir(), 'bench', 'footage-720p.mp4');
  if (existsSync(path)) return path;
  await mkdir(join(cacheDir(), 'bench'), { recursive: true });
  const [clip = ''] = await fetchAsset(CLIPS);
  const partial = path.replace('.mp4', '.partial.mp4');
  await upscale(clip, partial);
  await rename(partial, path);
  return path;
}

async function upscale(from: string, to: string): Promise<void> {
  const { Decoder, Demuxer, Encoder, FilterAPI, Muxer } = await ffmpeg();
  const { FF_ENCODER_LIBX264 } = await import('node-av/constants');
  await using input = await Demuxer.open(from);
  const video = input.video();
  if (!video) throw new Error(`${from} has no video`);
  using decoder = await Decoder.create(video);
  using filter = FilterAPI.create(FILTER);
  using encoder = await Encoder.create(FF_ENCODER_LIBX264, {
    bitrate: '6M',
    gopSize: 25,
    options: { preset: 'veryfast', tune: 'zerolatency' },
    decoder,
    filter,
  });
  await using output = await Muxer.open(to);
  const stream = output.addStream(encoder);
  const packets = encoder.packets(filter.frames(decoder.frames(input.packets(video.index))));
  for await (using packet of packets) await output.writePacket(packet, stream);
}

/** `count` different JPEGs of 1280x720 from the footage, 4:2:0: what ingest would publish. Made once, cached. */
export async function jpegs720p(count: number, quality = 85): Promise<Buffer[]> {
  const folder = join(cacheDir(), 'bench', `jpegs-720p-${quality}`);
  const paths = Array.from({ length: count }, (_, index) => join(folder, `${index}.jpg`));
  if (!paths.every((path) => existsSync(path))) {
    await mkdir(folder, { recursive: true });
    const jpegs = await jpegsOfFootage(count, quality);
    await Promise.all(jpegs.map((jpeg, index) => writeFile(paths[index] ?? '', jpeg)));
  }
  return Promise.all(paths.map((path) => readFile(path)));
}

async function jpegsOfFootage(count: number, quality: number): Promise<Buffer[]> {
  const { Decoder, Demuxer, FilterAPI } = await ffmpeg();
  await using input = await Demuxer.open(await footage720p());
  const video = input.video();
  if (!video) throw new Error('the footage has no video');
  using decoder = await Decoder.create(video);
  using filter = FilterAPI.create('fps=5,format=rgb24');
  const jpegs: Buffer[] = [];
  for await (using frame of filter.frames(decoder.frames(input.packets(video.index)))) {
    if (!frame) break;
    const raw = { width: WIDTH, height: HEIGHT, channels: 3 } as const;
    jpegs.push(await sharp(frame.toBuffer(), { raw }).jpeg({ quality }).toBuffer());
    if (jpegs.length === count) break;
  }
  return jpegs;
}
