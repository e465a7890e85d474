import type { ListedStream } from '@video-pipeline/scene';
import type { CameraStatus, StreamStatus } from './api.ts';

/**
 * All streams: those of the list of streams, whether they send or not, and those that send without being listed.
 * Without a list, streams that only ingest knows are included, too.
 */
export function streamStatuses(
  listed: ReadonlyMap<string, Omit<ListedStream, 'id'>> | undefined,
  seen: readonly string[],
  cameras: { of(streamId: string): CameraStatus | undefined },
): StreamStatus[] {
  const ids = [...new Set([...(listed?.keys() ?? []), ...seen])].sort();
  return ids.map((id) => {
    const camera = cameras.of(id);
    const name = listed?.get(id)?.name;
    return {
      stream_id: id,
      ...(name ? { name } : {}),
      listed: listed === undefined || listed.has(id),
      disabled: listed?.get(id)?.disabled ?? false,
      ...(camera ? { camera } : {}),
    };
  });
}
