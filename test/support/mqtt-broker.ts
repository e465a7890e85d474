import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes } from 'aedes';

/** A real MQTT broker with the password `secret`. `got` has its messages, and `retained` those for a new subscriber. */
export async function startMqttBroker({
  port = 0,
  tls,
}: {
  port?: number;
  tls?: { key: string; cert: string };
} = {}) {
  const aedes = await Aedes.createBroker();
  const got: [topic: string, text: string][] = [];
  const retained = new Map<string, string>();
  const users: (string | undefined)[] = [];
  aedes.authenticate = (_client, user, password, done) => {
    users.push(user);
    done(null, user === undefined || String(password) === 'secret');
  };
  aedes.on('publish', ({ topic, payload, retain }) => {
    if (topic.startsWith('$SYS')) return;
    got.push([topic, payload.toString()]);
    if (retain) retained.set(topic, payload.toString());
  });
  const sockets = new Set<Socket>();
  const server: Server = tls ? createTlsServer(tls, aedes.handle) : createServer(aedes.handle);
  server.on('connection', (socket) => void sockets.add(socket));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => aedes.close(resolve));
  };
  const { port: own } = server.address() as AddressInfo;
  return { got, retained, users, stop, sockets, port: own, url: `mqtt${tls ? 's' : ''}://127.0.0.1:${own}` };
}
