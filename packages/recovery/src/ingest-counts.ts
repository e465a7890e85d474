import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseMetrics } from '@video-pipeline/telemetry';

/**
 * Frames that ingest hosts published, by the metrics that they wrote to stdout.
 * @returns frames by `stream/session`
 * @throws the file system's error when there is no such file
 */
export async function readCounts(files: readonly string[]): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const file of files) {
    // npm starts scripts in the repository's root. A relative path is relative to the folder in which npm was called.
    const lines = createInterface({ input: createReadStream(resolve(process.env.INIT_CWD ?? '', file)) });
    for await (const line of lines) addLine(counts, line);
  }
  return counts;
}

function addLine(counts: Map<string, number>, line: string): void {
  const { service, stream, session, values } = parseMetrics(line) ?? {};
  if (service !== 'ingest' || session === undefined) return;
  const published = (values?.FramesPublished ?? []).reduce((sum, count) => sum + count, 0);
  const name = `${stream}/${session}`;
  counts.set(name, (counts.get(name) ?? 0) + published);
}
