import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { AVIO_FLAG_WRITE } from 'node-av/constants';
import { IOContext } from 'node-av/lib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const SECONDS = 4;
/** Seven packets of MPEG-TS, as SRT's payload is. */
const PAYLOAD_BYTES = 1316;
const folder = await videoFolder();
let clip: Buffer;

beforeAll(async () => {
  clip = await readFile(
    await makeVideo(folder.path('clip.ts'), { times: evenTimes(SECONDS * 25, 25), gop: 25 }),
  );
});
afterAll(() => folder.remove());

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** An encoder that waits for a caller, then sends it the clip in real time. */
async function send(url: string): Promise<void> {
  const output = new IOContext();
  expect(await output.open2(`${url}&mode=listener`, AVIO_FLAG_WRITE)).toBe(0);
  const started = performance.now();
  for (let at = 0; at < clip.length; at += PAYLOAD_BYTES) {
    await delay(Math.max(0, started + (at / clip.length) * SECONDS * 1000 - performance.now()));
    await output.write(clip.subarray(at, at + PAYLOAD_BYTES));
    await output.flush();
  }
  await output.closep();
}

test('SRT with a passphrase is read', async () => {
  const url = `srt://127.0.0.1:${await freeUdpPort()}?passphrase=not-to-be-seen`;
  const sent = send(url);
  const collecting = collectingIngest();
  void collecting.ingest.run([stream('yard', url)]);
  await sent;
  await collecting.ingest.stop(1000);
  const { frames, entries } = collecting;
  expect(frames.length).toBeGreaterThan((SECONDS - 3) * 10);
  expect(frames.map(({ frameNumber }) => frameNumber)).toEqual(frames.map((_, index) => index));
  for (const { jpeg } of frames) expect(jpegSize(jpeg)).toEqual({ width: 320, height: 240 });
  expect(JSON.stringify(entries)).not.toContain('not-to-be-seen');
});
