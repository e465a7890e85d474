import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Duplex, Writable } from 'node:stream';
import { connectTo, type Target } from '@video-pipeline/outbound';
import type { Authorization } from './authorization.ts';
import { SourceError, statusError } from './source-error.ts';

// Not by `import`, which also loads Node's WebSocket and fetch.
const { request } = process.getBuiltinModule('node:http');
const TYPE = 'application/x-rtsp-tunnelled';
/** Most messages that are sent again after the camera refused a POST. It refuses at the first message, if at all. */
const MAX_SENT = 8;

/**
 * RTSP tunnelled through HTTP, as in QuickTime, FFmpeg and GStreamer. The camera's messages are the answer to a GET.
 * Messages to the camera are the body of a POST, in base64. A cookie connects the two.
 * @param path path of the stream's URL
 * @param signal closes the tunnel
 * @throws SourceError when the camera refuses; the error of the socket
 */
export async function openTunnel(
  target: Target,
  path: string,
  authorization: Authorization | undefined,
  signal: AbortSignal,
): Promise<Duplex> {
  const cookie = randomBytes(11).toString('hex');
  const ask = (method: string, more: Record<string, string>): ClientRequest => {
    const permit = authorization?.header(method, path);
    const headers = {
      host: `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`,
      'x-sessioncookie': cookie,
      pragma: 'no-cache',
      'cache-control': 'no-cache',
      ...(permit ? { authorization: permit } : {}),
      ...more,
    };
    const createConnection = () => connectTo(target);
    const sent = request({ method, path, headers, createConnection, signal, insecureHTTPParser: true });
    return sent.on('error', () => {});
  };
  const get = async (): Promise<IncomingMessage> => {
    const [answer] = await once(ask('GET', { accept: TYPE }).end(), 'response');
    return answer;
  };
  let answer = await get();
  for (let repeats = 0; answer.statusCode === 401 && authorization; repeats += 1) {
    answer.destroy();
    if (!authorization.challenge(answer.headersDistinct['www-authenticate'] ?? [], repeats)) break;
    answer = await get();
  }
  const { statusCode = 0, statusMessage = '', headers } = answer;
  if (statusCode !== 200 || !headers['content-type']?.startsWith(TYPE)) {
    answer.destroy();
    if (statusCode === 200) throw new SourceError('open: the host tunnels no RTSP through HTTP', true);
    throw statusError(statusCode, `GET was answered ${statusCode} ${statusMessage}`);
  }
  let post: ClientRequest;
  /** What was sent, as a POST that is refused at first is sent again. */
  const sent: string[] = [];
  const encoder = new Writable({
    write(bytes: Buffer, _encoding, done) {
      const text = bytes.toString('base64');
      if (sent.length < MAX_SENT) sent.push(text);
      // A POST that is refused drops it.
      post.write(text, () => done());
    },
    destroy(error, done) {
      post.destroy();
      done(error);
    },
  });
  const tunnel = Duplex.from({ readable: answer, writable: encoder });
  const send = async (repeats: number): Promise<void> => {
    // The length is that of Apple's client: the body may be longer. The camera answers only a POST that it refuses.
    post = ask('POST', { 'content-type': TYPE, 'content-length': '32767' });
    post.flushHeaders();
    for (const text of sent) post.write(text);
    const [refusal] = (await once(post, 'response')) as [IncomingMessage];
    const { statusCode = 0, statusMessage = '', headersDistinct } = refusal.resume();
    if (statusCode < 300) return void post.once('error', (error) => tunnel.destroy(error));
    const challenges = headersDistinct['www-authenticate'] ?? [];
    if (statusCode !== 401 || !authorization?.challenge(challenges, repeats))
      throw statusError(statusCode, `POST was answered ${statusCode} ${statusMessage}`);
    post.destroy();
    await send(repeats + 1);
  };
  send(0).catch((error) => tunnel.destroy(error));
  return tunnel;
}
