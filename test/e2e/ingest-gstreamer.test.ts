import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Transport } from '../../ingest-host/src/source/source.ts';
import { collectingIngest, stream } from '../support/collect.ts';
import { installGStreamer, startGStreamer } from '../support/gstreamer.ts';
import { jpegSize } from '../support/jpeg.ts';
import { startProxy } from '../support/proxy.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

// A server that is none of ours: what works with it is not only our own reading of the standard.
const absent = installGStreamer();
if (absent) process.stderr.write(`skipping the tests against GStreamer's RTSP server: ${absent}\n`);

const folder = await videoFolder();
const undo: (() => Promise<unknown>)[] = [];
let h264: string;
let h265: string;

beforeAll(async () => {
  const times = evenTimes(250, 25);
  h264 = await makeVideo(folder.path('h264.mp4'), { times, gop: 12 });
  h265 = await makeVideo(folder.path('h265.mp4'), { times, gop: 12, codec: 'libx265' });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function capture(address: string, credentials: string, transport: Transport, seconds = 3) {
  const collecting = collectingIngest();
  undo.push(() => collecting.ingest.stop(1000));
  void collecting.ingest.run([{ ...stream('yard', `rtsp://${credentials}${address}/yard`), transport }]);
  await expect.poll(() => collecting.frames.length, { timeout: 20_000 }).toBeGreaterThan(seconds * 10);
  return collecting;
}

test.skipIf(absent).each([
  ['TCP and through HTTP', ['h264 tcp', 'h265 tcp', 'h264 http'], 0],
  ['UDP', ['h264 udp'], 0],
  ['UDP', ['h265 udp'], 0],
  ['UDP, one packet in a hundred lost', ['h264 udp'], 0.01],
] as const)('ingest reads a GStreamer RTSP server over %s: %j', async (_name, ways, loss) => {
  const captured = ways.map(async (way) => {
    const [codec, transport] = way.split(' ') as ['h264' | 'h265', Transport];
    const server = await startGStreamer(codec === 'h264' ? h264 : h265, codec, { loss });
    undo.push(() => server.stop());
    const { frames, ingest } = await capture(server.address, '', transport);
    expect(ingest.stats.get('yard'), way).toMatchObject({ reconnects: 0, dropped: 0 });
    expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
    for (const { jpeg } of frames) expect(jpegSize(jpeg)).toEqual({ width: 320, height: 240 });
    // Once a sender report has come, frames have the times of the server's pictures, 40 ms apart, however slow the
    // machine is: ten steps of 80 or 120 ms, and longer ones where a picture was lost.
    const isExact = () => {
      const times = frames.slice(-11).map(({ capturedAt }) => capturedAt);
      const steps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
      const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
      const areEven = steps.every((step) => step > 70 && Math.abs(step - 40 * Math.round(step / 40)) <= 1);
      return areEven && (loss > 0 || Math.abs(span - 1000) <= 1);
    };
    await expect.poll(isExact, { message: way, timeout: 20_000 }).toBe(true);
  });
  await Promise.all(captured);
});

// A soft bar that runs through the picture: each of its forty places is told from the others, and smears show.
const bars = Array.from({ length: 40 }, (_, index) =>
  Array.from(
    { length: 320 },
    (_x, x) => 40 + 150 * Math.exp(-((((x + 640 - index * 8) % 320) / 40 - 2) ** 2)),
  ),
);
const barAt = (x: number, _y: number, index: number) => bars[index % 40]?.[x] ?? 0;

// JPEGs are of full range.
const rows = bars.map((row) => row.map((luma) => ((Math.trunc(luma) - 16) * 255) / 219));

/** How like a picture is to the place of the bar that it is most like, dB. */
async function likeness(jpeg: Buffer): Promise<number> {
  const pixels = await sharp(jpeg).greyscale().raw().toBuffer();
  const height = pixels.length / 320;
  const [sums, squares] = [new Float64Array(320), new Float64Array(320)];
  for (const [at, value] of pixels.entries()) {
    sums[at % 320] = (sums[at % 320] ?? 0) + value;
    squares[at % 320] = (squares[at % 320] ?? 0) + value * value;
  }
  // All rows of the scene are the same: a column's sum of (pixel - luma)^2, multiplied out.
  const errors = rows.map((row) =>
    row.reduce((sum, luma, x) => sum + (squares[x] ?? 0) - 2 * luma * (sums[x] ?? 0) + height * luma ** 2, 0),
  );
  return 10 * Math.log10((255 ** 2 * pixels.length) / Math.min(...errors));
}

test.skipIf(absent).each([
  ['h264', 'libx264', 6],
  ['h265', 'libx265', 2],
] as const)(
  'with 2 % of packets lost, no published picture of %s is smeared',
  async (name, codec, seconds) => {
    // More than twice as long as a machine with time takes: the server's end would be a break.
    const times = evenTimes(65 * seconds, 25);
    const clip = await makeVideo(folder.path(`${name}-bar.mp4`), { times, gop: 25, luma: barAt, codec });
    const server = await startGStreamer(clip, name, { loss: 0.02 });
    const began = performance.now();
    undo.push(() => server.stop());
    const { frames, ingest } = await capture(server.address, '', 'udp', seconds);
    const isOver = performance.now() - began > 1000 * (times.at(-1) ?? 0);
    const { reconnects } = ingest.stats.get('yard') ?? {};
    for (const { jpeg, frameNumber } of frames)
      expect(await likeness(jpeg), `frame ${frameNumber}, dB`).toBeGreaterThan(30);
    // On a slow machine the clip may have come to its end.
    expect(isOver ? 0 : reconnects).toBe(0);
  },
);

test.skipIf(absent)('a camera that comes back with another codec is read', async () => {
  const [first, second] = [await startGStreamer(h264, 'h264'), await startGStreamer(h265, 'h265')];
  undo.push(first.stop, second.stop);
  const between = await startProxy(`rtsp://${first.address}`);
  undo.push(() => between.close());
  const { frames, ingest } = await capture(new URL(between.url).host, '', 'tcp', 1);
  const before = frames.length;
  between.cut(`rtsp://${second.address}`);
  await expect.poll(() => frames.length, { timeout: 10_000 }).toBeGreaterThan(before + 10);
  expect(ingest.stats.get('yard')).toMatchObject({ reconnects: 1, dropped: 0 });
  expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
});

test.skipIf(absent)(
  'from a camera that refuses TCP, auto reads over UDP, and tcp reports the reason',
  async () => {
    const server = await startGStreamer(h264, 'h264', { udpOnly: true });
    undo.push(() => server.stop());
    const { ingest } = await capture(server.address, '', 'auto', 1);
    expect(ingest.stats.get('yard')?.reconnects).toBe(0);

    const refused = collectingIngest();
    undo.push(() => refused.ingest.stop(1000));
    void refused.ingest.run([stream('yard', `rtsp://${server.address}/yard`)]);
    await expect
      .poll(() => refused.ingest.stats.get('yard')?.lastError, { timeout: 10_000 })
      .toMatch(/^open: /);
  },
);

test.skipIf(absent)(
  'Digest authentication succeeds with a password that must be percent-encoded',
  async () => {
    const server = await startGStreamer(h264, 'h264', { user: ['admin', 'p@ss/w:rd'] });
    undo.push(() => server.stop());
    const { ingest } = await capture(server.address, 'admin:p%40ss%2Fw%3Ard@', 'tcp', 1);
    await capture(server.address, 'admin:p%40ss%2Fw%3Ard@', 'http', 1);
    expect(ingest.stats.get('yard')?.reconnects).toBe(0);

    const refused = collectingIngest();
    undo.push(() => refused.ingest.stop(1000));
    void refused.ingest.run([stream('yard', `rtsp://admin:wrong@${server.address}/yard`)]);
    await expect
      .poll(() => refused.ingest.stats.get('yard')?.lastError)
      .toContain('authentication failed (401)');
  },
);
