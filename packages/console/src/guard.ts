import type { IncomingMessage } from 'node:http';
import type { Access } from './access.ts';
import { HttpError, type Reply, readBody } from './http.ts';
import type { Origin } from './origin.ts';

const LOGIN = '/login';
/** What a stranger may ask for: whether the process lives, and what the page that asks for the token looks like. */
const OPEN_PATHS = new Set(['/health', '/page/style.css', '/page/icon.svg', '/page/login.ts', LOGIN]);

/**
 * Lets through who has access and comes from our own page; shows others where to log in. Whether the process lives,
 * everyone may ask, by any name.
 */
export function guardOf(
  access: Access,
  origin: Origin,
  page: Map<string, Reply>,
): (request: IncomingMessage, path: string) => Reply | undefined {
  return (request, path) => {
    if (path === '/health') return undefined;
    const { hasLogin } = access;
    if (!origin.isOurs(request)) {
      throw new HttpError(
        403,
        'the console does not answer to this name: set CONSOLE_URL to the address it is seen at',
      );
    }
    // No page can send a bearer it does not know.
    if (access.isBearer(request)) return undefined;
    refuseForeign(request, origin, path);
    if (!hasLogin || OPEN_PATHS.has(path) || access.isLoggedIn(request)) return undefined;
    if (path === '/' && request.headers.accept?.includes('text/html')) return loginPage(page);
    throw new HttpError(401, 'a token is needed');
  };
}

/** The page that asks for the token. */
export function loginPage(page: Map<string, Reply>, isWrong = false): Reply {
  const login = page.get('login.html');
  if (!login) throw new Error('the page has no login.html');
  const body = isWrong ? String(login.body).replace('<p id="wrong" hidden>', '<p id="wrong">') : login.body;
  return { ...login, body, status: 401, headers: { 'cache-control': 'no-store' } };
}

/** @throws HttpError for what the page of another site made the browser send, unless it leads here by a link */
function refuseForeign(request: IncomingMessage, origin: Origin, path: string): void {
  const { method, headers } = request;
  const source = origin.sourceOf(request);
  const reads = method === 'GET' || method === 'HEAD';
  if (source === 'foreign') {
    const isLink = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
    if (reads && path === '/' && isLink) return;
    throw new HttpError(403, 'pages of other sites may not use the console');
  }
  if (!reads && path !== LOGIN && source !== 'own')
    throw new HttpError(403, 'only the console itself may do this');
}

/**
 * The body of a request that changes something, as JSON; its fields may be anything.
 * @throws HttpError
 */
export async function readDraft<Draft>(
  request: IncomingMessage,
): Promise<{ [Key in Draft extends unknown ? keyof Draft : never]?: unknown }> {
  // A page of another site can send this type only after asking, to which nothing here agrees.
  if (request.headers['content-type'] !== 'application/json') {
    throw new HttpError(403, 'body must be application/json');
  }
  try {
    return Object(JSON.parse(await readBody(request)));
  } catch (error) {
    if (error instanceof SyntaxError) throw new HttpError(400, 'body must be JSON');
    throw error;
  }
}
