import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const COOKIE = 'console';
/** After so long a browser logs in again, seconds. */
const SESSION_SECONDS = 12 * 3600;
/** Of more, the oldest ends. */
const MAX_SESSIONS = 1_000;

type Headed = Pick<IncomingMessage, 'headers'>;

/** Who may use the console. */
export interface Access {
  /** Whether there is a token to show. */
  hasLogin: boolean;
  /** Whether the request shows the token, as a bearer: no page can make a browser do that. */
  isBearer(request: Headed): boolean;
  /** Whether the request comes from a browser that has logged in. */
  isLoggedIn(request: Headed): boolean;
  /** The cookie that lets a browser in; `undefined` when the token is a wrong one. */
  login(token: string, at: CookieSettings): string | undefined;
  /** Ends the browser's session. @returns the cookie that takes the place of its own */
  logout(request: Headed, at: CookieSettings): string;
}

export interface CookieSettings {
  /** The browser speaks TLS: the cookie is never to be sent without. */
  isSecure: boolean;
  /** First part of every path, without a slash at its end. */
  prefix: string;
}

/** With a token: who shows it, as a bearer, or has shown it at the log-in. Without one: everybody. */
export function createAccess(token: string | undefined): Access {
  /** What a cookie holds -> when it ends, by the monotonic clock, ms. The oldest come first. */
  const sessions = new Map<string, number>();
  const isToken = (given: string) => token !== undefined && isEqual(given, token);
  return {
    hasLogin: token !== undefined,
    isBearer(request) {
      const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      return bearer !== undefined && isToken(bearer);
    },
    isLoggedIn: (request) => (sessions.get(cookieOf(request)) ?? 0) > performance.now(),
    login(given, at) {
      if (!isToken(given)) return undefined;
      const session = randomBytes(24).toString('base64url');
      sessions.set(session, performance.now() + SESSION_SECONDS * 1_000);
      if (sessions.size > MAX_SESSIONS) sessions.delete(sessions.keys().next().value ?? '');
      return cookie(session, SESSION_SECONDS, at);
    },
    logout(request, at) {
      sessions.delete(cookieOf(request));
      return cookie('', 0, at);
    },
  };
}

function cookie(value: string, seconds: number, { isSecure, prefix }: CookieSettings): string {
  const secure = isSecure ? 'Secure; ' : '';
  return `${COOKIE}=${value}; Path=${prefix || '/'}; Max-Age=${seconds}; ${secure}HttpOnly; SameSite=Strict`;
}

function cookieOf({ headers }: Headed): string {
  const cookies = (headers.cookie ?? '').split('; ');
  return cookies.find((one) => one.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1) ?? '';
}

/** Compares digests, which are of one length, in a time that does not depend on what differs. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
