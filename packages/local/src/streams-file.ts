import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from './processes.ts';
import type { Source } from './sources.ts';

interface Entry {
  id: string;
  url: string;
  scene?: unknown;
}

/**
 * Names the list of streams that the console writes zones to and that detect reads them from: the user's, or else
 * `<dataDir>/streams.json`, whose scenes stay from run to run.
 * @throws StartError when that file holds no JSON
 */
export async function streamsVariables(
  dataDir: string,
  sources: readonly Source[],
): Promise<NodeJS.ProcessEnv> {
  if (process.env.STREAMS || process.env.STREAMS_FILE) return {};
  const file = join(dataDir, 'streams.json');
  const before = await entriesOf(file);
  const entries: Entry[] = sources.map(({ id, url }) => ({ ...before.get(id), id, url }));
  for (const entry of entries) before.delete(entry.id);
  // An address may hold a password.
  await writeFile(file, `${JSON.stringify([...entries, ...before.values()], null, 2)}\n`, { mode: 0o600 });
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
