import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig, readStreamsText } from '@video-pipeline/config';
import { endsByItself, type Source } from './sources.ts';
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
  return specs.map(({ id, url }) => ({ id, url, finite: endsByItself(url) }));
}

/**
 * Variables that name the list of streams: ingest reads its cameras, detect its scenes, and the console writes to it.
 * It is the user's list, otherwise `<dataDir>/streams.json`, whose scenes stay from run to run. Entries that are no
 * source of this run are disabled there.
 * @throws StartError when that file holds no JSON
 */
export async function streamsVariables(
  dataDir: string,
  sources: readonly Source[],
): Promise<NodeJS.ProcessEnv> {
  if (process.env.STREAMS || process.env.STREAMS_FILE) return {};
  const file = join(dataDir, 'streams.json');
  const before = await entriesOf(file);
  const entries: Entry[] = sources.map(({ id, url }) => {
    const { disabled: _, ...former } = before.get(id) ?? {};
    before.delete(id);
    return { ...former, id, url };
  });
  const away = [...before.values()].map((entry) => ({ ...entry, disabled: true }));
  // Mode 600, since a URL may hold a password.
  await writeFile(file, `${JSON.stringify([...entries, ...away], null, 2)}\n`, { mode: 0o600 });
  return { STREAMS_FILE: file };
}

async function entriesOf(file: string): Promise<Map<string, Entry>> {
  const text = await readFile(file, 'utf8').catch(() => '[]');
  try {
    return new Map((JSON.parse(text) as Entry[]).map((entry) => [entry.id, entry]));
  } catch (cause) {
    throw new StartError(`${file} holds no list in JSON: mend or delete it`, { cause });
  }
}
