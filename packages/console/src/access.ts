import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const COOKIE = 'console';
/** Longest session of a browser, seconds. Then it logs in again. */
const SESSION_SECONDS = 12 * 3600;
/** Most sessions. With more, the oldest one ends. */
const MAX_SESSIONS = 1_000;

type Headed = Pick<IncomingMessage, 'headers'>;

export type Access = ReturnType<typeof createAccess>;

interface CookieSettings {
  /** The browser uses TLS: the cookie must never be sent without TLS. */
  isSecure: boolean;
  /** First part of every path, without a slash at its end. */
  prefix: string;
}

/** With a token, only clients that send it as a bearer, or have logged in with it, have access. Without one, all do. */
export function createAccess(token: string | undefined) {
  /** Cookie value -> end of its session by the monotonic clock, ms. The oldest come first. */
  const sessions = new Map<string, number>();
  const isToken = (given: string) => token !== undefined && isEqual(given, token);
  return {
    hasLogin: token !== undefined,
    /** Whether the request has the token as a bearer. No web page can make a browser send that. */
    isBearer(request: Headed): boolean {
      const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      return bearer !== undefined && isToken(bearer);
    },
    isLoggedIn: (request: Headed) => (sessions.get(cookieOf(request)) ?? 0) > performance.now(),
    /** The cookie of a new session; `undefined` when the token is wrong. */
    login(given: string, at: CookieSettings): string | undefined {
      if (!isToken(given)) return undefined;
      const session = randomBytes(24).toString('base64url');
      sessions.set(session, performance.now() + SESSION_SECONDS * 1_000);
      if (sessions.size > MAX_SESSIONS) sessions.delete(sessions.keys().next().value ?? '');
      return cookie(session, SESSION_SECONDS, at);
    },
    /** Ends the browser's session. @returns the cookie that replaces the session's cookie */
    logout(request: Headed, at: CookieSettings): string {
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

/** Compares digests, which have equal length, in constant time. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
