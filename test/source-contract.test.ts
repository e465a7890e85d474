import { createReadStream } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { startCameras } from '@video-pipeline/camera';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openSource, SCHEMES } from '../ingest-host/src/source/open.ts';
import type { Transport } from '../ingest-host/src/source/source.ts';
import { SourceError } from '../ingest-host/src/source/source-error.ts';
import { evenTimes, makeVideo, videoFolder } from './support/video.ts';

// What every kind of source promises: asked of each scheme that one is opened by.

const folder = await videoFolder();
const options = { transport: 'tcp', timeoutSeconds: 2 } as const;
const network = SCHEMES.filter((scheme) => scheme !== 'file');
const PICTURES = 20;
let clip: string;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.ts'), { times: evenTimes(PICTURES, 10), gop: 10 });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => folder.remove());

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const errorOf = async (url: string, signal?: AbortSignal) => {
  const began = performance.now();
  const error = await openSource(url, options, signal).then(
    () => undefined,
    (error: Error) => error,
  );
  return { error, ms: performance.now() - began };
};

test.each(SCHEMES)(
  '%s: an unreachable source is an error within the timeout, without the password',
  async (scheme) => {
    const url = scheme === 'file' ? 'file:///nowhere/clip.mp4' : `${scheme}://admin:secret@127.0.0.1:1/x`;
    const { error, ms } = await errorOf(url);
    expect(error).toBeInstanceOf(SourceError);
    expect(error?.message).toMatch(/^open: \w/);
    expect(error?.message).not.toContain('secret');
    expect(ms).toBeLessThan(6_000);
  },
);

test.each(network)('%s: a link-local address is rejected', async (scheme) => {
  const { error } = await errorOf(`${scheme}://169.254.169.254/latest/meta-data`);
  expect(error).toBeInstanceOf(SourceError);
  expect(error?.message).toMatch(/link-local|169\.254/);
});

test.each(network)('%s: an abort ends the opening of a silent source', async (scheme) => {
  const port = await listen(createServer((socket) => socket.on('error', () => {})));
  // Of itself it would end long after the test.
  const url = `${scheme}://127.0.0.1:${port}/x`;
  const patient = { ...options, timeoutSeconds: 300 };
  await expect(openSource(url, patient, AbortSignal.timeout(200))).rejects.toThrow(Error);
});

const rtsp = async () => {
  const file = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(PICTURES, 10), gop: 10 });
  const cameras = await startCameras({ clips: { clip: file } });
  undo.push(() => cameras.close());
  return `${cameras.url}/clip`;
};
/** Where the clip can be had by a scheme, and a way; RTMP, SRT and TLS are tried end to end. */
const served: [scheme: string, transport: Transport, serve: () => Promise<string>][] = [
  ['file', 'tcp', async () => `file://${clip}`],
  [
    'http',
    'tcp',
    async () => {
      const server = createHttpServer((_request, response) => createReadStream(clip).pipe(response));
      return `http://127.0.0.1:${await listen(server)}/clip.ts`;
    },
  ],
  ['rtsp', 'tcp', rtsp],
  ['rtsp', 'udp', rtsp],
  ['rtsp', 'auto', rtsp],
];

test.each(served)(
  '%s by %s: pictures come in order of time, end at an abort, and a source may be closed twice',
  async (_scheme, transport, serve) => {
    const source = await openSource(await serve(), { timeoutSeconds: 300, transport });
    undo.push(() => source.close());
    const times: number[] = [];
    const pictures = source.pictures();
    while (times.length < 5) {
      const { value, done } = await pictures.next();
      if (done || !value) break;
      expect([value.frame.width, value.frame.height]).toEqual([source.format.width, source.format.height]);
      times.push(value.time);
    }
    expect(times).toHaveLength(5);
    expect(times).toEqual(times.toSorted((one, other) => one - other));
    source.interrupt();
    const rest = await Array.fromAsync({ [Symbol.asyncIterator]: () => pictures }).catch((error) => error);
    expect(rest instanceof SourceError || rest.length < PICTURES).toBe(true);
    await source.close();
    await source.close();
  },
);
