import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const COOKIE = 'console';
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);

/** Whether only this machine can reach a server on `host`. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || host.startsWith('127.');
}

/** Who may use the console. */
export interface Access {
  /** Whether there is a token to show. */
  hasLogin: boolean;
  /** Whether the request may read. */
  isAllowed(request: IncomingMessage): boolean;
  /** The cookie that lets a browser in; `undefined` when the token is a wrong one. */
  login(token: string): string | undefined;
}

/**
 * With a token: who shows it, as a bearer or as the cookie that {@link Access.login} gives. Without one: who speaks to
 * a loopback name, which a page of another site can't, even when its DNS points here.
 */
export function createAccess(token: string | undefined): Access {
  if (token === undefined) {
    return {
      hasLogin: false,
      isAllowed: (request) => LOOPBACK.has(hostName(request)),
      login: () => undefined,
    };
  }
  // The cookie is not the token itself, which may be in use elsewhere.
  const expected = digest(token);
  return {
    hasLogin: true,
    isAllowed(request) {
      const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      if (bearer !== undefined) return isEqual(digest(bearer), expected);
      const cookies = (request.headers.cookie ?? '').split('; ');
      const cookie = cookies.find((one) => one.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1);
      return cookie !== undefined && isEqual(cookie, expected);
    },
    login: (given) =>
      isEqual(digest(given), expected)
        ? `${COOKIE}=${expected}; Path=/; HttpOnly; SameSite=Strict`
        : undefined,
  };
}

/**
 * Whether a request that changes something comes from our own page: browsers name the page's origin with it, and ask first before they send JSON anywhere else, to which nothing here agrees.
 */
export function isFromOwnPage(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (request.headers['content-type'] !== 'application/json') return false;
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === host;
}

function hostName({ headers }: IncomingMessage): string {
  return (headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
}

function digest(token: string): string {
  return createHash('sha256').update(`video-pipeline console ${token}`).digest('hex');
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
