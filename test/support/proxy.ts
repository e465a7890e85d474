import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';

/**
 * A TCP relay in front of a camera, which can imitate faults of a network.
 * @param tls with it, the relay is reached by TLS
 */
export async function startProxy(target: string, tls?: TlsOptions) {
  let camera = new URL(target);
  const sockets = new Set<Socket>();
  const relay = (client: Socket) => {
    const upstream = connect(Number(camera.port), camera.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  };
  const server = tls ? createTlsServer(tls, relay) : createServer(relay);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `${tls ? 'rtsps' : 'rtsp'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Open connections stay open, and transfer nothing any more. */
    freeze() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    /** Closes all connections. Later ones lead to `target`. */
    cut(target?: string) {
      if (target) camera = new URL(target);
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
