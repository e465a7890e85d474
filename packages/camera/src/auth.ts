import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { RtspRequest } from './rtsp-message.ts';

const REALM = 'camera';

export type Authenticator = ReturnType<typeof createAuthenticator>;

/**
 * Basic and Digest authentication of one server (RFC 2326, 4.4 and RFC 2617).
 * @param user `name:password`
 * @returns whether a request is let in, and the values of WWW-Authenticate
 */
export function createAuthenticator(user: string) {
  const [name, ...rest] = user.split(':');
  const password = rest.join(':');
  const nonce = randomBytes(16).toString('hex');
  const basic = `Basic ${Buffer.from(user).toString('base64')}`;
  const secret = md5(`${name}:${REALM}:${password}`);

  function accepts({ method, headers }: RtspRequest): boolean {
    const header = headers.authorization ?? '';
    if (/^basic /i.test(header)) return same(header.replace(/^basic +/i, 'Basic '), basic);
    const field = (key: string) => new RegExp(`[ ,]${key}="([^"]*)"`).exec(header)?.[1] ?? '';
    if (!/^digest /i.test(header) || field('username') !== name || field('nonce') !== nonce) return false;
    return same(field('response'), md5(`${secret}:${nonce}:${md5(`${method}:${field('uri')}`)}`));
  }
  return { accepts, challenges: [`Digest realm="${REALM}", nonce="${nonce}"`, `Basic realm="${REALM}"`] };
}

const md5 = (text: string) => createHash('md5').update(text).digest('hex');

function same(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
