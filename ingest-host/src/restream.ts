import { Relay, serveRtsp } from '@video-pipeline/camera';
import { ConfigError } from '@video-pipeline/config';
import { isLoopback } from '@video-pipeline/http';
import type { StreamSpec } from './streams.ts';

export type Restream = Awaited<ReturnType<typeof startRestream>>;

/**
 * Serves the packets of RTSP cameras at `rtsp://host:port/<stream id>`: one connection to a camera for all clients.
 * @param user `name:password`
 * @throws ConfigError when other machines could connect without a password; node:net's error when the port is taken
 */
export async function startRestream(host: string, port: number, user: string | undefined) {
  if (user === undefined && !isLoopback(host))
    throw new ConfigError(`RESTREAM_USER must be set, as HOST is ${host}: anyone could watch the cameras`);
  const relays = new Map<string, Relay>();
  const server = await serveRtsp(relays, { host, port, ...(user ? { user } : {}) });
  const forget = (id: string): void => {
    relays.get(id)?.end();
    relays.delete(id);
  };
  return {
    /** `rtsp://host:port` */
    url: server.url,
    /** @returns the relay of a stream; undefined with privacy masks, since the camera's packets are not masked */
    relayOf({ id, masks }: Pick<StreamSpec, 'id' | 'masks'>): Relay | undefined {
      if (masks) return void forget(id);
      const relay = relays.get(id) ?? new Relay();
      relays.set(id, relay);
      return relay;
    },
    forget,
    close: () => server.close(),
  };
}
