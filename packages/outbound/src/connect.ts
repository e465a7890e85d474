import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { isForbidden, lookupAllowed, OutboundError, withoutBrackets } from './address.ts';

export interface Target {
  /** A name or an address, IPv6 without brackets. */
  host: string;
  port: number;
  /** Through TLS. Of a camera the certificate is not verified: they sign their own. */
  tls?: boolean | 'verified';
}

/**
 * A socket on its way to `target`, as `net.connect` gives it.
 * @throws OutboundError for an address that is never allowed; a name that leads to one fails as the socket's error
 */
export function connectTo({ host, port, tls }: Target): Socket {
  refuseForbidden(host);
  const options = { host, port, lookup: lookupAllowed, noDelay: true };
  if (!tls) return connect(options);
  const servername = isIP(host) ? '' : host;
  if (tls === 'verified') return connectTls({ ...options, servername });
  return connectTls({ ...options, servername, rejectUnauthorized: false, minVersion: 'TLSv1' as const });
}

/** @throws OutboundError when `host` is an address that is never allowed */
export function refuseForbidden(host: string): void {
  if (isIP(host.replace(/%.*$/, '')) && isForbidden(host)) {
    throw new OutboundError(`${host} is a link-local or reserved address`);
  }
}

/**
 * For connections that others open.
 * @throws OutboundError when `host` is, or leads to, an address that is never allowed; one that is unknown is left to them
 */
export async function refuseHost(host: string): Promise<void> {
  const plain = withoutBrackets(host);
  refuseForbidden(plain);
  const addresses = await lookup(plain, { all: true }).catch(() => []);
  for (const { address } of addresses) refuseForbidden(address);
}
