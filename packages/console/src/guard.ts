import type { IncomingMessage } from 'node:http';
import { type Access, isFromOwnPage } from './access.ts';
import { HttpError, type Reply, readBody } from './http.ts';

/** What a stranger may ask for: whether the process lives, and what the page that asks for the token looks like. */
const OPEN_PATHS = new Set(['/health', '/page/style.css', '/page/icon.svg', '/login']);

/** Lets through who has access; shows others where to log in, at whatever address they came to. */
export function guardOf(
  access: Access,
  page: Map<string, Reply>,
): (request: IncomingMessage, path: string) => Reply | undefined {
  return (request, path) => {
    if (OPEN_PATHS.has(path) || access.isAllowed(request)) return undefined;
    const login = page.get('login.html');
    if (login && access.hasLogin && request.headers.accept?.includes('text/html')) {
      return { ...login, status: 401, headers: { 'cache-control': 'no-store' } };
    }
    throw access.hasLogin
      ? new HttpError(401, 'a token is needed')
      : new HttpError(403, 'without a token the console answers to localhost alone');
  };
}

/** @throws HttpError for a request that changes something and comes from elsewhere than our own page */
export function fromOwnPage(request: IncomingMessage): void {
  if (!isFromOwnPage(request)) throw new HttpError(403, 'only the console itself may do this');
}

/**
 * The body of a request that changes something, as JSON; its fields may be anything.
 * @throws HttpError
 */
export async function readDraft<Draft>(
  request: IncomingMessage,
): Promise<{ [Key in Draft extends unknown ? keyof Draft : never]?: unknown }> {
  fromOwnPage(request);
  try {
    return Object(JSON.parse(await readBody(request)));
  } catch (error) {
    if (error instanceof SyntaxError) throw new HttpError(400, 'body must be JSON');
    throw error;
  }
}
