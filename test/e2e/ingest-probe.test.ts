import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CommandHost } from '../support/command-host.ts';
import { startIngestProcess } from '../support/ingest-process.ts';
import { jpegSize } from '../support/jpeg.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const MAIN = join(import.meta.dirname, '../../ingest-host/src/probe-command.ts');
const folder = await videoFolder();
const closed: Server[] = [];
let clip: string;
let cameras: Cameras;
let silent: Server;
let web: Server;

beforeAll(async () => {
  clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
  cameras = await startCameras({ clips: { yard: clip }, user: 'admin:p@ss/word' });
  const page = createHttpServer((_request, response) => response.end('<html>not a camera</html>'));
  silent = await listen(createServer((socket) => socket.resume()));
  web = await listen(page);
});
afterAll(async () => {
  await Promise.all([cameras.close(), commands.stop()]);
  for (const server of closed) server.close();
  await folder.remove();
});

async function listen(server: Server): Promise<Server> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closed.push(server);
  return server;
}

const addressOf = (server: Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`;
const camera = (password: string, name = 'yard') =>
  `${cameras.url.replace('//', `//admin:${password}@`)}/${name}`;

/** Runs the command in a process of its own; @returns its exit code and all that it wrote. */
async function probeAlone(...args: string[]) {
  const child = startIngestProcess({}, MAIN, args);
  return { code: await child.exited, output: child.output() };
}

const commands = new CommandHost();
/** Likewise, in one process after another: most of a short one's time is its start. */
async function probe(...args: string[]) {
  const { code, stdout, stderr } = await commands.run(MAIN, args);
  return { code, output: stdout + stderr };
}

test('npm run probe reads facts and a picture of a camera with Digest, over tcp, udp and auto', async () => {
  const probes = ['tcp', 'udp', 'auto'].map(async (transport) => {
    const jpeg = folder.path(`${transport}.jpg`);
    const options = ['--json', '--seconds', '3', '--transport', transport, '--jpeg', jpeg];
    const { code, output } = await probeAlone(camera('p%40ss%2Fword'), ...options);
    expect(code, transport).toBe(0);
    expect(output).not.toContain('p%40ss');
    const report = JSON.parse(output);
    expect(report).toMatchObject({
      url: `${cameras.url.replace('//', '//***@')}/yard`,
      transport: `rtsp over ${transport}`,
      codec: 'h264',
      profile: 'Constrained Baseline',
      width: 320,
      height: 240,
      announcedFps: 25,
      keyFrameIntervalSeconds: 1,
      audio: [],
      clock: { source: 'rtcp' },
      jpeg: { path: jpeg, width: 320, height: 240 },
    });
    expect(Math.abs(report.measuredFps - 25), transport).toBeLessThan(0.1);
    expect(Math.abs(report.clock.offsetMs), transport).toBeLessThan(2_000);
    expect(report.packets - report.pictures, transport).toBeLessThan(4);
    expect(jpegSize(await readFile(jpeg))).toEqual({ width: 320, height: 240 });
  });
  await Promise.all(probes);
});

test('npm run probe prints the facts of a file as text', async () => {
  const { code, output } = await probe(clip, '--jpeg', folder.path('file.jpg'));
  expect(code).toBe(0);
  const lines = [
    'video       h264 Constrained Baseline 1.3, 320x240, yuv420p',
    'rate        25.00 frames/s, 25.25 announced, longest gap 40 ms', // made so: its last picture lasts a tick
    'pictures    100 decoded of 100 that came',
    'key frames  every 1.00 s',
    'transport   file',
    'audio       none',
    'clock       the time of reading: it is a file',
  ];
  for (const line of lines) expect(output).toContain(line);
  const { size } = await stat(clip);
  const [, megabits] = /bit rate {4}([\d.]+) Mbit/.exec(output) ?? [];
  expect(Math.abs((Number(megabits) * 1e6 * 4) / 8 / size - 1)).toBeLessThan(0.1);
  expect(output).toContain(`picture     ${folder.path('file.jpg')}, 320x240, `);
});

test.each([
  ['a wrong password', () => camera('secret'), 'authentication failed (401)'],
  [
    'an unknown stream of the camera',
    () => camera('p%40ss%2Fword', 'gate'),
    'no such stream on the camera (404)',
  ],
  ['a closed port', () => 'rtsp://admin:secret@127.0.0.1:1/x', 'Connection refused'],
  ['a host that does not exist', () => 'rtsp://admin:secret@no-such-host.invalid/x', 'the host is unknown'],
  ['a host that never responds', () => `rtsp://admin:secret@${addressOf(silent)}/x`, 'no picture for 1 s'],
  ['a web page', () => `http://admin:secret@${addressOf(web)}/x`, 'what is there is no video stream'],
  ['an RTSP URL of a web server', () => `rtsp://admin:secret@${addressOf(web)}/x`, ''],
  ['a missing file', () => folder.path('absent.mp4'), 'No such file or directory'],
  ['no URL', () => '', 'no URL'],
])('npm run probe with %s prints one line, and exits with 1', async (_name, url, message) => {
  const { code, output } = await probe(url(), '--timeout', '1');
  expect(code).toBe(1);
  expect(output).toContain(message);
  expect(output.trim().split('\n')).toHaveLength(1);
  expect(output).not.toMatch(/secret|p%40ss/);
});

test('npm run probe names a file that is not a video, and a JPEG that can not be written', async () => {
  const notes = folder.path('notes.dat');
  await writeFile(notes, 'nothing to see\n'.repeat(1000));
  expect(await probe(notes)).toEqual({
    code: 1,
    output: `${notes}: open: what is there is no video stream\n`,
  });
  const { code, output } = await probe(clip, '--jpeg', folder.path('no/such/folder.jpg'));
  expect([code, output]).toEqual([1, expect.stringContaining('no/such/folder.jpg')]);
});
