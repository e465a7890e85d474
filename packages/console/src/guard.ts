import { HttpError, isLink, type Origin } from '@video-pipeline/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Access } from './access.ts';
import type { Page } from './page-files.ts';

const LOGIN = '/login';
/** Files that anyone may request: those of the log-in page. */
const OPEN_FILES = ['style.css', 'icon.svg', 'login.ts'];

/** A proxy adds one of them, unless it is told not to. */
const OF_PROXIES = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'];

const NOT_OURS = 'the console does not answer to this name: set CONSOLE_URL to the address that browsers use';
const SECURITY_HEADERS = {
  // Pictures are drawn from blobs. The page loads nothing from other hosts, and sends nothing to them.
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
};

/**
 * Admits requests with access that come from the console's own page, and shows others the log-in. Anyone may request
 * `/health`, under any host name.
 */
export function addGuard(app: FastifyInstance, access: Access, origin: Origin, page: Page): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS);
    const route = request.routeOptions.url;
    if (route === '/health') return undefined;
    if (!origin.isOurs(request)) throw new HttpError(403, NOT_OURS);
    if (!access.hasLogin && OF_PROXIES.some((name) => name in request.headers))
      throw new HttpError(403, 'without a token the console answers no proxy: set CONSOLE_TOKEN_FILE');
    // No web page can send a bearer token that it does not know.
    if (access.isBearer(request)) return undefined;
    refuseForeign(request, origin);
    if (!access.hasLogin || isOpen(request) || access.isLoggedIn(request)) return undefined;
    if (route === '/' && request.headers.accept?.includes('text/html')) return sendLogin(reply, page);
    throw new HttpError(401, 'a token is needed');
  });
}

function isOpen({ routeOptions, params }: FastifyRequest): boolean {
  if (routeOptions.url === '/page/:name') return OPEN_FILES.includes((params as { name: string }).name);
  return routeOptions.url === LOGIN;
}

export function sendLogin(reply: FastifyReply, page: Page, isWrong = false): FastifyReply {
  const login = page.get('login.html');
  if (!login) throw new Error('the page has no login.html');
  const body = isWrong ? login.body.replace('<p id="wrong" hidden>', '<p id="wrong">') : login.body;
  return reply.status(401).type(login.type).send(body);
}

/** @throws HttpError for a request that a page of another site made the browser send, except a link to the console */
function refuseForeign(request: FastifyRequest, origin: Origin): void {
  const { method, routeOptions } = request;
  const source = origin.sourceOf(request);
  if (source === 'foreign') {
    if (routeOptions.url === '/' && isLink(request)) return;
    throw new HttpError(403, 'pages of other sites may not use the console');
  }
  const reads = method === 'GET' || method === 'HEAD';
  if (!reads && routeOptions.url !== LOGIN && source !== 'own')
    throw new HttpError(403, 'only the console itself may do this');
}
