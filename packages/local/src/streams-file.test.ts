import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listedSources, streamsVariables } from './streams-file.ts';

const yard = { id: 'yard', url: 'rtsp://camera/1', finite: false };
const gate = { id: 'gate', url: 'rtsp://camera/2', finite: false };
const scene = { zones: { door: { polygon: [] } } };

describe('the list of streams of a stack', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'streams-'));
    file = join(folder, 'streams.json');
    vi.stubEnv('STREAMS', '');
    vi.stubEnv('STREAMS_FILE', '');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  it('contains the sources, and only its owner may read it', async () => {
    expect(await streamsVariables(folder, [yard, gate])).toEqual({ STREAMS_FILE: file });
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual([
      { id: 'yard', url: 'rtsp://camera/1' },
      { id: 'gate', url: 'rtsp://camera/2' },
    ]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('keeps scenes between runs, also those of streams without a source', async () => {
    const before = [
      { ...yard, url: 'rtsp://before', scene },
      { id: 'roof', url: 'rtsp://roof', scene },
    ];
    await writeFile(file, JSON.stringify(before));
    await streamsVariables(folder, [yard]);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject([
      { id: 'yard', url: 'rtsp://camera/1', scene },
      // Not a camera of this run.
      { id: 'roof', url: 'rtsp://roof', scene, disabled: true },
    ]);
    await streamsVariables(folder, [{ id: 'roof', url: 'rtsp://roof', finite: false }]);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject([{ id: 'roof' }, { disabled: true }]);
    expect(JSON.parse(await readFile(file, 'utf8'))[0]).not.toHaveProperty('disabled');
  });

  it('keeps cameras that the user added, but disables them in a run that ends by itself', async () => {
    const list = async (): Promise<{ id: string; disabled?: boolean }[]> =>
      JSON.parse(await readFile(file, 'utf8'));
    const states = async () => Object.fromEntries((await list()).map(({ id, disabled }) => [id, !disabled]));
    const added = [
      { id: 'porch', url: 'rtsp://porch' },
      { id: 'attic', url: 'rtsp://attic', disabled: true },
    ];
    await streamsVariables(folder, [yard]);
    await writeFile(file, JSON.stringify([...(await list()), ...added]));
    await streamsVariables(folder, [yard]);
    expect(await states()).toEqual({ yard: true, porch: true, attic: false });
    // Other sources: those of the start before are not read.
    await streamsVariables(folder, [gate]);
    expect(await states()).toEqual({ gate: true, yard: false, porch: true, attic: false });
    await streamsVariables(folder, [gate], true);
    expect(await states()).toEqual({ gate: true, yard: false, porch: false, attic: false });
    await streamsVariables(folder, [yard]);
    expect(await states()).toEqual({ yard: true, gate: false, porch: true, attic: false });
    expect((await list()).find(({ id }) => id === 'porch')).toEqual(added[0]);
  });

  it.each(['STREAMS', 'STREAMS_FILE'])('is read from %s when there is no --source', async (variable) => {
    const list =
      '- {id: yard, url: rtsp://camera/1}\n- {id: film, url: a.mp4}\n- {id: off, url: b.mp4?loop, disabled: true}\n';
    await writeFile(file, list);
    vi.stubEnv(variable, variable === 'STREAMS' ? list : file);
    expect(await listedSources(() => {})).toEqual([
      { id: 'yard', url: 'rtsp://camera/1', finite: false },
      { id: 'film', url: 'a.mp4', finite: true },
    ]);
    for (const wrong of [
      '- {id: S\u00fcd, url: a.mp4}',
      'streams: []',
      '- {id: yard}',
      '- {id: a, url: b, scene: 5}',
    ]) {
      await writeFile(file, wrong);
      vi.stubEnv(variable, variable === 'STREAMS' ? wrong : file);
      await expect(listedSources(() => {})).rejects.toThrow(
        variable === 'STREAMS' ? /^STREAMS: / : `${file}: `,
      );
    }
  });

  it('omits entries that can not be read, and names them', async () => {
    await writeFile(file, '- {id: yard, url: rtsp://camera/1}\n- {id: gate}\n- {url: a.mp4}\n');
    vi.stubEnv('STREAMS_FILE', file);
    const notes: string[] = [];
    expect(await listedSources((line) => notes.push(line))).toEqual([yard]);
    expect(notes[0]).toMatch(`stream gate is left out: ${file}: line 2: 'url' is invalid`);
    expect(notes[1]).toMatch(`a stream is left out: ${file}: line 3: 'id' is invalid`);
  });

  it('is undefined without STREAMS and STREAMS_FILE', async () => {
    expect(await listedSources(() => {})).toBeUndefined();
  });

  it('is not written when the user sets STREAMS_FILE', async () => {
    vi.stubEnv('STREAMS_FILE', '/etc/cameras.yaml');
    expect(await streamsVariables(folder, [yard])).toEqual({});
  });

  it.each(['scene:', '{}'])('is not overwritten when it is broken: %s', async (broken) => {
    await writeFile(file, broken);
    await expect(streamsVariables(folder, [yard])).rejects.toThrow(`${file} holds no `);
    expect(await readFile(file, 'utf8')).toBe(broken);
  });
});
