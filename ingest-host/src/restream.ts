import { type Cameras, Relay, serveRtsp } from '@video-pipeline/camera';
import { ConfigError } from '@video-pipeline/config';
import { isLoopback } from '@video-pipeline/http';
import type { StreamSpec } from './streams.ts';

/** Serves the packets of RTSP cameras at `rtsp://host:port/<stream id>`: one connection to a camera for all clients. */
export class Restream {
  readonly #relays: Map<string, Relay>;
  readonly #server: Cameras;

  private constructor(relays: Map<string, Relay>, server: Cameras) {
    this.#relays = relays;
    this.#server = server;
  }

  /**
   * @param user `name:password`
   * @throws ConfigError when other machines could connect without a password; node:net's error when the port is taken
   */
  static async start(host: string, port: number, user: string | undefined): Promise<Restream> {
    if (user === undefined && !isLoopback(host))
      throw new ConfigError(`RESTREAM_USER must be set, as HOST is ${host}: anyone could watch the cameras`);
    const relays = new Map<string, Relay>();
    return new Restream(relays, await serveRtsp(relays, { host, port, ...(user ? { user } : {}) }));
  }

  /** `rtsp://host:port` */
  get url(): string {
    return this.#server.url;
  }

  /** @returns the relay of a stream; undefined with privacy masks, since the camera's packets are not masked */
  relayOf({ id, masks }: Pick<StreamSpec, 'id' | 'masks'>): Relay | undefined {
    if (masks) return void this.forget(id);
    const relay = this.#relays.get(id) ?? new Relay();
    this.#relays.set(id, relay);
    return relay;
  }

  forget(id: string): void {
    this.#relays.get(id)?.end();
    this.#relays.delete(id);
  }

  async close(): Promise<void> {
    await this.#server.close();
  }
}
