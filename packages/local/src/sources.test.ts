import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isStreamId } from '@video-pipeline/frame';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseSources } from './sources.ts';
import { StartError } from './supervisor/processes.ts';

describe('--source', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sources-'));
    for (const name of ['front door.mp4', 'a=b.mp4', '_.mkv']) writeFileSync(join(folder, name), '');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const parse = (...values: string[]) => parseSources(values, folder);

  it('names a camera after its host and path, without credentials', () => {
    expect(parse('rtsp://user:secret@10.0.0.7:554/live/main?channel=1')).toEqual([
      {
        id: '10.0.0.7-554-live-main',
        url: 'rtsp://user:secret@10.0.0.7:554/live/main?channel=1',
        finite: false,
      },
    ]);
  });

  it('accepts a name before the URL', () => {
    expect(parse('yard=rtsp://10.0.0.7/?a=b')[0]).toMatchObject({ id: 'yard', url: 'rtsp://10.0.0.7/?a=b' });
  });

  it("reads a password from a variable, and stores only the variable's name", () => {
    vi.stubEnv('GATE_PASSWORD', 'p@ss/word');
    const url = `rtsp://admin:\${GATE_PASSWORD}@10.0.0.7/live`;
    expect(parse(url)).toEqual([{ id: '10.0.0.7-live', url, finite: false }]);
    vi.stubEnv('GATE_URL', 'rtsp://admin:secret@10.0.0.8/live');
    expect(parse(`gate=\${GATE_URL}`, `\${GATE_URL}`)).toEqual([
      { id: 'gate', url: `\${GATE_URL}`, finite: false },
      { id: '10.0.0.8-live', url: `\${GATE_URL}`, finite: false },
    ]);
    vi.unstubAllEnvs();
    expect(() => parse(`rtsp://admin:\${NO_SUCH}@10.0.0.7/live`)).toThrow('needs the variable NO_SUCH');
  });

  it('reads a URL from a file with @', () => {
    const url = 'rtsp://admin:secret@10.0.0.7/live';
    writeFileSync(join(folder, 'camera.txt'), `\n${url}\n`);
    expect(parse('yard=@camera.txt', `@${join(folder, 'camera.txt')}`)).toEqual([
      { id: 'yard', url, finite: false },
      { id: '10.0.0.7-live', url, finite: false },
    ]);
    expect(() => parse('@absent.txt')).toThrow(`there is no file ${join(folder, 'absent.txt')}`);
  });

  it('rejects a folder', () => {
    mkdirSync(join(folder, 'recordings', 'old.mp4'), { recursive: true });
    writeFileSync(join(folder, 'recordings', 'new.mp4'), '');
    for (const value of ['recordings', 'recordings?loop', '@recordings', ''])
      expect(() => parse(value)).toThrow('is a folder, and no file');
    expect(parse('recordings/*.mp4').map(({ id }) => id)).toEqual(['new']);
    rmSync(join(folder, 'recordings'), { recursive: true });
  });

  it('plays a file once, or in a loop with ?loop', () => {
    const path = join(folder, 'front door.mp4');
    expect(parse('front door.mp4', 'again=front door.mp4?loop')).toEqual([
      { id: 'front-door', url: path, finite: true },
      { id: 'again', url: `${path}?loop`, finite: false },
    ]);
  });

  it('makes a stream of each file of a pattern, in order, at full speed or in a loop', () => {
    mkdirSync(join(folder, 'nvr/b'), { recursive: true });
    for (const name of ['nvr/2.mp4', 'nvr/b/2.mp4', 'nvr/1.mp4', 'nvr/x.txt'])
      writeFileSync(join(folder, name), '');
    expect(parse('nvr/**/*.mp4')).toEqual([
      { id: '1', url: join(folder, 'nvr/1.mp4'), finite: true },
      { id: '2', url: join(folder, 'nvr/2.mp4'), finite: true },
      { id: '2-2', url: join(folder, 'nvr/b/2.mp4'), finite: true },
    ]);
    expect(parse(join(folder, 'nvr/[1-9].mp4?loop')).map(({ url }) => url)).toEqual([
      join(folder, 'nvr/1.mp4?loop'),
      join(folder, 'nvr/2.mp4?loop'),
    ]);
    expect(() => parse('nvr/*.mkv')).toThrow('--source nvr/*.mkv: no file has such a name');
  });

  it('accepts a file whose name contains an equals sign', () => {
    expect(parse('a=b.mp4')[0]).toMatchObject({ id: 'a-b', url: join(folder, 'a=b.mp4') });
  });

  it('makes equal stream names unique', () => {
    expect(parse('rtsp://h/x', 'rtsp://u:p@h/x', '_.mkv').map(({ id }) => id)).toEqual([
      'h-x',
      'h-x-2',
      'stream',
    ]);
    expect(() => parse('x=rtsp://a/', 'x=rtsp://b/')).toThrow("two streams are named 'x'");
  });

  it.each([
    ['none.mp4', 'there is no file'],
    ['ftp://user:secret@h/x', 'must be a video file or a URL of rtsp:'],
    ['rtsp://user:secret@:bad:/x', 'is not a URL'],
    ['Süd=clip.mp4', "'Süd' can't name a stream: it must be letters of a to z"],
  ])('rejects %s, and shows no secret', (value, message) => {
    expect(() => parse(value)).toThrow(StartError);
    expect(() => parse(value)).toThrow(message);
    expect(() => parse(value)).not.toThrow('secret');
  });

  it('makes a valid stream id of any URL', () => {
    fc.assert(
      fc.property(fc.webUrl(), (url) => {
        const [source] = parse(url.replace(/^https?/, 'rtsp'));
        expect(isStreamId(source?.id ?? '')).toBe(true);
      }),
    );
  });
});
