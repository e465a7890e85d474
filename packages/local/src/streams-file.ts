import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig, readStreamsText } from '@video-pipeline/config';
import { isPlayedOnce, type Source } from './sources.ts';
import { StartError } from './supervisor/processes.ts';

interface Entry {
  id: string;
  url: string;
  scene?: unknown;
  /** Ingest does not read it. */
  disabled?: boolean;
}

/**
 * The cameras that STREAMS or STREAMS_FILE lists; `undefined` if neither is set.
 * @param note receives line and field of each entry that ingest or detect can't use; the others are used
 * @throws ConfigError, StreamsError if no entry can be used
 */
export async function listedSources(note: (line: string) => void): Promise<Source[] | undefined> {
  const config = readConfig(['STREAMS', 'STREAMS_FILE', 'FRAME_RATE', 'JPEG_QUALITY']);
  const streams = readStreamsText(config);
  if (!streams) return undefined;
  // Loaded only here, since it loads FFmpeg.
  const { parseStreams } = await import('@video-pipeline/ingest-host');
  const defaults = { frameRate: config.FRAME_RATE, quality: config.JPEG_QUALITY };
  const { specs, problems } = parseStreams(streams.text, defaults, streams.where);
  for (const { id, text } of problems)
    note(`${id === undefined ? 'a stream' : `stream ${id}`} is left out: ${text}`);
  return specs.map(({ id, url }) => ({ id, url, finite: isPlayedOnce(url) }));
}

/** Changes that starts have made to the list, by the ids of its entries. The list itself has no field for them. */
interface Starts {
  /** Entries that a start has written: cameras of the demo, or of `--source`. */
  written: string[];
  /** Entries of the user that the last start has disabled. */
  paused: string[];
}

/**
 * Variables that name the list of streams: ingest reads its cameras, detect its scenes, and the console writes to it.
 * It is the user's list, otherwise `<dataDir>/streams.json`, whose scenes stay from run to run. Sources of former runs
 * are disabled there. A camera that the user has added stays as it is, except in a run of limited length.
 * @param ends whether the run has a limited length
 * @throws StartError when a file holds no JSON
 */
export async function streamsVariables(
  dataDir: string,
  sources: readonly Source[],
  ends = false,
): Promise<NodeJS.ProcessEnv> {
  if (process.env.STREAMS || process.env.STREAMS_FILE) return {};
  const [file, startsFile] = [join(dataDir, 'streams.json'), join(dataDir, 'streams-starts.json')];
  const before = await readJson<Entry[]>(file, []);
  if (!Array.isArray(before)) throw new StartError(`${file} holds no list: fix or delete it`);
  const past = await readJson<Starts>(startsFile, { written: idsOf(before), paused: [] });
  const { list, starts } = nextList(before, past, sources, ends);
  await writeFile(startsFile, JSON.stringify(starts));
  // Mode 600, since a URL may hold a password.
  await writeFile(file, `${JSON.stringify(list, null, 2)}\n`, { mode: 0o600 });
  return { STREAMS_FILE: file };
}

const idsOf = (list: readonly { id: string }[]) => list.map(({ id }) => id);

/** The list of the next run, and the changes that its start has made to it. */
function nextList(before: readonly Entry[], past: Starts, sources: readonly Source[], ends: boolean) {
  const enabled = ({ disabled: _, ...entry }: Entry): Entry => entry;
  const others = new Map(
    before.map((entry) => [entry.id, past.paused.includes(entry.id) ? enabled(entry) : entry]),
  );
  const read = sources.map(({ id, url }) => {
    const former = others.get(id);
    others.delete(id);
    return { ...(former && enabled(former)), id, url };
  });
  const written = past.written.filter((id) => others.has(id));
  const paused = [...others.values()].filter(
    (entry) => ends && !entry.disabled && !written.includes(entry.id),
  );
  const off = new Set([...written, ...idsOf(paused)]);
  const rest = Array.from(others.values(), (one) => (off.has(one.id) ? { ...one, disabled: true } : one));
  const starts: Starts = { written: [...idsOf(sources), ...written], paused: idsOf(paused) };
  return { list: [...read, ...rest], starts };
}

async function readJson<Value>(file: string, otherwise: Value): Promise<Value> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return otherwise;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StartError(`${file} holds no JSON: fix or delete it`, { cause });
  }
}
