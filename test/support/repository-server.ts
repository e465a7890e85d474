/** A server and a proxy on 127.0.0.1 for tests, with faults that the test chooses. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

export interface TestServer {
  url: URL;
  /** Each request, as `GET /path`, and its headers. */
  requests: { line: string; headers: IncomingMessage['headers'] }[];
  close(): Promise<void>;
}

/** Serves the contents by path, with ranges. `instead` may respond first, and then returns true. */
export async function serveFiles(
  files: Readonly<Record<string, string | Buffer>>,
  instead: (...args: Parameters<RequestListener>) => boolean = () => false,
): Promise<TestServer> {
  const requests: TestServer['requests'] = [];
  const server = createServer((request, response) => {
    requests.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    if (instead(request, response)) return;
    const content = files[decodeURI(request.url ?? '')];
    if (content === undefined) {
      response.writeHead(404).end();
      return;
    }
    const bytes = Buffer.from(content);
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > bytes.length) response.writeHead(416).end();
    else
      response
        .writeHead(from ? 206 : 200, { 'content-length': bytes.length - from })
        .end(bytes.subarray(from));
  });
  return { ...(await listen(server)), requests };
}

/** A proxy for http and https that requires `user:password`. */
export async function serveProxy(credentials?: string): Promise<TestServer> {
  const requests: TestServer['requests'] = [];
  const wanted = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const isAllowed = ({ headers }: IncomingMessage) => !wanted || headers['proxy-authorization'] === wanted;
  const server = createServer((request, response) => {
    requests.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    if (!isAllowed(request)) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end();
      return;
    }
    // It responds itself in place of any requested host.
    response.writeHead(200).end(new URL(request.url ?? '').pathname);
  });
  server.on('connect', (request, socket) => {
    requests.push({ line: `CONNECT ${request.url}`, headers: request.headers });
    if (!isAllowed(request)) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    const [host, port] = (request.url ?? '').split(':');
    const through = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      through.pipe(socket).pipe(through);
    });
    for (const end of [through, socket]) end.on('error', () => through.destroy());
  });
  return { ...(await listen(server)), requests };
}

async function listen(server: Server): Promise<Omit<TestServer, 'requests'>> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
