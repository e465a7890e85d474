import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Duplex, Transform } from 'node:stream';
import { connectTo, type Target } from '@video-pipeline/outbound';
import type { Authorization } from './authorization.ts';
import { SourceError, statusError } from './source-error.ts';

const TYPE = 'application/x-rtsp-tunnelled';

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
    const asked = request({ method, path, headers, createConnection, signal, insecureHTTPParser: true });
    return asked.on('error', () => {});
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
    if (statusCode === 200) throw new SourceError('open: what is there tunnels no RTSP through HTTP', true);
    throw statusError(statusCode, `GET was answered ${statusCode} ${statusMessage}`);
  }
  // The length is that of Apple's client: the body may be longer, and the camera sends no answer.
  const post = ask('POST', { 'content-type': TYPE, 'content-length': '32767' });
  post.flushHeaders();
  const encoder = new Transform({
    transform: (bytes: Buffer, _encoding, done) => done(null, bytes.toString('base64')),
  });
  encoder.pipe(post);
  encoder.once('close', () => post.destroy());
  const tunnel = Duplex.from({ readable: answer, writable: encoder });
  post.once('error', (error) => tunnel.destroy(error));
  return tunnel;
}
