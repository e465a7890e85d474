import type { ListedStream } from '@video-pipeline/scene';
import type { StreamStatus } from './api.ts';
import type { Cameras } from './cameras.ts';

/**
 * Every stream there is: those that the list of streams has, whether they send or not, and those that send without being
 * there. What ingest alone knows is there too where there is no list.
 */
export function streamStatuses(
  listed: ReadonlyMap<string, Omit<ListedStream, 'id'>> | undefined,
  seen: readonly string[],
  cameras: Pick<Cameras, 'of'>,
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
