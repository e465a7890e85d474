import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseMetrics } from '@video-pipeline/telemetry';
import type { DiskMap } from './disk-map.ts';

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

/** `stream/session` of `stream/session/number` */
export const sessionOf = (name: string) => name.slice(0, name.lastIndexOf('/'));

/** Duplicates of a frame count once. Frames that Kafka has deleted by age count as lost. */
export function lostBeforeKafka(counted: ReadonlyMap<string, number>, held: DiskMap<true>): string[] {
  const found = new Map<string, number>();
  for (const [name] of held) found.set(sessionOf(name), (found.get(sessionOf(name)) ?? 0) + 1);
  return [...counted]
    .map(([name, published]) => ({ name, published, found: found.get(name) ?? 0 }))
    .filter(({ published, found }) => found < published)
    .map(({ name, published, found }) => `${name}: ${published} published, ${found} in Kafka`);
}
