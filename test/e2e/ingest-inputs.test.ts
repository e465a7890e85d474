import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { decoded, ffmpeg, ffmpegAbsent, psnr } from '../support/ffmpeg.ts';
import { startIngestProcess } from '../support/ingest-process.ts';
import { jpegSize } from '../support/jpeg.ts';
import { makeVideo, videoFolder } from '../support/video.ts';

const absent = ffmpegAbsent();
if (absent) process.stderr.write(`skipping the comparisons with the system's ffmpeg: ${absent}\n`);
const folder = await videoFolder();
afterAll(() => folder.remove());

/** Moves, has colours, and is smooth enough for a JPEG to keep. */
const SCENE = '-f lavfi -i testsrc2=size=320x240:rate=25:duration=0.4,gblur=sigma=2';
const PICTURES = 10;
const SMALL = '-f lavfi -i testsrc2=size=160x120:rate=1:duration=1';
const X264 = '-c:v libx264 -preset ultrafast -crf 12';

interface Case {
  /** Arguments that make the file. */
  make: string;
  name: string;
  size: [number, number];
  /** ffmpeg's filter that shows it as a player does. */
  shown?: string;
  pictures?: number;
  options?: Partial<ReturnType<typeof stream>> & {
    deinterlace?: boolean;
    squarePixels?: boolean;
    track?: number;
  };
  /** dB */
  least?: number;
}

/** What people have, as ffmpeg makes it. */
const cases: Record<string, Case> = {
  'turned by 90 degrees': {
    name: 'rot90.mp4',
    make: `-i {h264.mp4} -c copy -metadata:s:v rotate=90`,
    size: [240, 320],
  },
  'turned by 180 degrees': {
    name: 'rot180.mp4',
    make: `-i {h264.mp4} -c copy -metadata:s:v rotate=180`,
    size: [320, 240],
  },
  'turned by 270 degrees': {
    name: 'rot270.mp4',
    make: `-i {h264.mp4} -c copy -metadata:s:v rotate=270`,
    size: [240, 320],
  },
  'mirrored by its display orientation': {
    name: 'flip.h264',
    make: `-i {h264.mp4} -c copy -bsf:v h264_mp4toannexb,h264_metadata=display_orientation=insert:flip=horizontal`,
    size: [320, 240],
  },
  'odd sides, 4:4:4': {
    name: 'odd444.mp4',
    make: `${SCENE} -vf scale=321:241 -pix_fmt yuv444p ${X264}`,
    size: [320, 240],
    shown: 'crop=320:240:0:0:exact=1',
  },
  'odd sides, VP9': {
    name: 'odd420.webm',
    make: `${SCENE} -vf scale=322:242,crop=319:241:0:0:exact=1,format=yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 4M`,
    size: [318, 240],
    shown: 'crop=318:240:0:0:exact=1',
  },
  'RGB in H.264': {
    name: 'rgb.mkv',
    make: `${SCENE} -c:v libx264rgb -preset ultrafast -crf 8 -pix_fmt rgb24`,
    size: [320, 240],
  },
  'RGB in PNG': { name: 'png.mov', make: `${SCENE} -c:v png -pix_fmt rgb24`, size: [320, 240] },
  'RGB in FFV1': { name: 'gbrp.mkv', make: `${SCENE} -c:v ffv1 -pix_fmt gbrp`, size: [320, 240] },
  'RGB in FFV1, 10 bits': {
    name: 'gbrp10.mkv',
    make: `${SCENE} -c:v ffv1 -pix_fmt gbrp10le`,
    size: [320, 240],
  },
  grey: { name: 'gray.mkv', make: `${SCENE} -c:v ffv1 -pix_fmt gray`, size: [320, 240] },
  'a palette': { name: 'pal8.mkv', make: `${SCENE} -c:v zmbv -pix_fmt bgr0`, size: [320, 240] },
  'limited 4:2:0': { name: 'h264.mp4', make: `${SCENE} ${X264} -pix_fmt yuv420p`, size: [320, 240] },
  'full-range 4:2:2': {
    name: 'full.mkv',
    make: `${SCENE} -c:v mjpeg -q:v 2 -pix_fmt yuvj422p`,
    size: [320, 240],
  },
  'pixels that are not square, left so': {
    name: 'sar.mp4',
    make: `${SCENE} -vf scale=240:240,setsar=16/9 ${X264} -pix_fmt yuv420p`,
    size: [240, 240],
  },
  'pixels that are not square, made so': {
    name: 'sar.mp4',
    make: '',
    size: [426, 240],
    shown: 'scale=426:240:flags=area,setsar=1',
    options: { squarePixels: true },
  },
  'pixels whose shape the container alone says': {
    name: 'aspect.mkv',
    make: `-i {h264.mp4} -c copy -aspect 16:9`,
    size: [426, 240],
    shown: 'scale=426:240:flags=area,setsar=1',
    options: { squarePixels: true },
  },
  'colours as SMPTE 240M has them': {
    name: 'smpte240m.mkv',
    make: `${SCENE} -vf scale=out_color_matrix=smpte240m,format=yuv420p ${X264} -colorspace smpte240m`,
    size: [320, 240],
  },
  'colours that FFmpeg’s scaler refuses, 4:4:4': {
    name: 'ycgco.mkv',
    make: `${SCENE},hue=s=0 -pix_fmt yuv444p ${X264} -colorspace ycgco`,
    size: [320, 240],
  },
  'AVI, whose last picture has no time': {
    name: 'last.avi',
    make: `${SCENE} -c:v mpeg4 -bf 2 -q:v 2`,
    size: [320, 240],
  },
  'a raw H.264 stream with B pictures': {
    name: 'raw.h264',
    make: `${SCENE} ${X264} -preset veryfast -bf 3 -pix_fmt yuv420p -f h264`,
    size: [320, 240],
  },
  'a raw H.265 stream': {
    name: 'raw.h265',
    make: `${SCENE} -c:v libx265 -preset ultrafast -x265-params log-level=none:crf=12 -pix_fmt yuv420p -f hevc`,
    size: [320, 240],
  },
  'a cover picture first': {
    name: 'cover.mkv',
    make: `-i {cover.jpg} -i {h264.mp4} -map 0 -map 1:v -c:v copy -disposition:v:0 attached_pic`,
    size: [320, 240],
    shown: 'null',
  },
  'a small track first': {
    name: 'two.ts',
    make: `${SMALL} ${SCENE} -map 0:v -map 1:v ${X264} -pix_fmt yuv420p`,
    size: [320, 240],
  },
  'the track that is asked for': {
    name: 'two.ts',
    make: '',
    size: [160, 120],
    pictures: 1,
    options: { track: 0 },
  },
};

const made = new Map<string, Promise<string>>();
function file(name: string, make: string): string {
  const path = folder.path(name);
  if (make !== '')
    ffmpeg(
      make.replace(/\{(.*?)\}/g, (_, other: string) => folder.path(other)),
      path,
    );
  made.set(name, Promise.resolve(path));
  return path;
}

async function run(path: string, options: Case['options'] = {}) {
  const collecting = collectingIngest();
  await collecting.ingest.run([{ ...stream('yard', path, 240), quality: 98, ...options }]);
  return collecting;
}

test.skipIf(absent).each(Object.entries(cases))(
  "%s: the JPEG equals FFmpeg's own picture",
  async (_name, one) => {
    if (!made.has('h264.mp4')) file('h264.mp4', cases['limited 4:2:0']?.make ?? '');
    if (!made.has('cover.jpg')) file('cover.jpg', `${SMALL} -frames:v 1`);
    const path = file(one.name, one.make);
    const { frames, ingest } = await run(path, one.options);
    expect(frames).toHaveLength(one.pictures ?? PICTURES);
    expect(ingest.stats.get('yard')).toMatchObject({ dropped: 0, state: 'ended' });
    const [width, height] = one.size;
    for (const frame of frames) expect(jpegSize(frame.jpeg)).toEqual({ width, height });
    const times = frames.map(({ capturedAt }) => capturedAt - (frames[0]?.capturedAt ?? 0));
    expect(times).toEqual(times.map((_time, index) => index * 40));
    if (one.name === 'two.ts') return;
    const source = one.name.startsWith('cover') ? folder.path('h264.mp4') : path;
    const expected = decoded(source, width, height, one.shown ?? 'null');
    for (const [index, { jpeg }] of frames.entries()) {
      const difference = await psnr(jpeg, expected[index] ?? Buffer.alloc(0));
      expect(difference, `picture ${index}, dB`).toBeGreaterThan(one.least ?? 32);
    }
  },
);

test.skipIf(absent)(
  'interlaced pictures are deinterlaced, unless the stream keeps them interlaced',
  async () => {
    const moving = '-f lavfi -i testsrc2=size=320x240:rate=50:duration=0.4,gblur=sigma=2';
    const whole = file('whole.mkv', `${moving} -c:v ffv1 -pix_fmt yuv420p`);
    const woven = '-vf tinterlace=interleave_top,setfield=tff';
    const path = file(
      'interlaced.mp4',
      `-i {whole.mkv} ${woven} ${X264} -pix_fmt yuv420p -flags +ilme+ildct -x264opts tff=1`,
    );
    const shown = decoded(whole, 320, 240, "select='not(mod(n,2))'");
    const [plain, left] = [await run(path), await run(path, { deinterlace: false })];
    const middle = PICTURES / 2;
    const [better, worse] = await Promise.all(
      [plain, left].map(({ frames }) =>
        psnr(frames[middle]?.jpeg ?? Buffer.alloc(0), shown[middle] ?? Buffer.alloc(0)),
      ),
    );
    expect(better).toBeGreaterThan((worse ?? 0) + 2);
  },
);

test('a file without a picture is an error that names it, and ends its stream', async () => {
  const text = folder.path('notes.mp4');
  await writeFile(text, 'nothing to see\n'.repeat(1000));
  const empty = folder.path('empty.h264');
  await writeFile(
    empty,
    (await readFile(await makeVideo(folder.path('some.h264'), { times: [0] }))).subarray(0, 40),
  );
  for (const [path, error] of [
    [text, 'open: what is there is no video stream'],
    [empty, /^it ended without a picture$|no video stream/],
  ] as const) {
    const { ingest, frames } = await run(path);
    expect(frames).toEqual([]);
    expect(ingest.stats.get('yard')?.state).toBe('failed');
    expect(ingest.stats.get('yard')?.lastError).toMatch(error);
  }
  const child = startIngestProcess({
    KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1',
    STREAMS: JSON.stringify([{ id: 'yard', url: text }]),
  });
  expect(await child.exited).toBe(1);
  expect(child.output()).toContain('no video stream');
});
