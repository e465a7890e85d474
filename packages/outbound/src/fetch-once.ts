import type { Agent, RequestInit, Response } from 'undici';
import { lookupAllowed, withoutBrackets } from './address.ts';
import { refuseForbidden } from './connect.ts';

/** Life of a connection, milliseconds. undici's own limit does not count the time for which a Lambda was frozen. */
const CONNECTION_MS = 4_000;
let agent: Agent | undefined;

/**
 * `fetch` that follows no redirect, since a redirect may lead anywhere, and reaches no address that is never allowed.
 * @throws OutboundError, TypeError whose `cause` holds the reason
 * @example
 * const { status } = await fetchOnce('https://hooks.example/events', { method: 'POST', body });
 */
export async function fetchOnce(url: string, init: RequestInit): Promise<Response> {
  refuseForbidden(withoutBrackets(new URL(url).hostname));
  // Loaded on demand: most modules that import this package only open sockets.
  const { Agent, fetch } = await import('undici');
  agent ??= new Agent({ connect: { lookup: lookupAllowed }, clientTtl: CONNECTION_MS });
  return await fetch(url, { ...init, redirect: 'manual', dispatcher: agent });
}
