import { Agent, fetch, type RequestInit, type Response } from 'undici';
import { lookupAllowed, withoutBrackets } from './address.ts';
import { refuseForbidden } from './connect.ts';

const agent = new Agent({ connect: { lookup: lookupAllowed } });

/**
 * `fetch` that follows no redirect, since a redirect may lead anywhere, and reaches no address that is never allowed.
 * @throws OutboundError, TypeError whose `cause` holds the reason
 */
export async function fetchOnce(url: string, init: RequestInit): Promise<Response> {
  refuseForbidden(withoutBrackets(new URL(url).hostname));
  return await fetch(url, { ...init, redirect: 'manual', dispatcher: agent });
}
