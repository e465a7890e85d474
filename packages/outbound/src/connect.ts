import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { isForbidden, lookupAllowed, OutboundError, withoutBrackets } from './address.ts';

export interface Target {
  /** A name or an address, IPv6 without brackets. */
  host: string;
  port: number;
  /** Whether to use TLS. Cameras sign their own certificates: these are accepted unless this is `verified`. */
  tls?: boolean | 'verified';
}

/**
 * Opens a socket to `target`, as `net.connect` does.
 * @throws OutboundError for an address that is never allowed; for a name that resolves to one, the socket emits it
 */
export function connectTo({ host, port, tls }: Target): Socket {
  refuseForbidden(host);
  const options = { host, port, lookup: lookupAllowed, noDelay: true };
  if (!tls) return connect(options);
  const servername = isIP(host) ? '' : host;
  if (tls === 'verified') return connectTls({ ...options, servername });
  // Old cameras know TLS 1.0 alone, which OpenSSL accepts at its lowest security level only.
  const old = { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  return connectTls({ ...options, servername, rejectUnauthorized: false, ...old });
}

/** @throws OutboundError when `host` is an address that is never allowed */
export function refuseForbidden(host: string): void {
  if (isIP(host.replace(/%.*$/, '')) && isForbidden(host)) {
    throw new OutboundError(`${host} is a link-local or reserved address`);
  }
}

/**
 * Checks a host to which other code will connect.
 * @throws OutboundError when `host` is, or resolves to, an address that is never allowed; an unknown name passes
 */
export async function refuseHost(host: string): Promise<void> {
  const plain = withoutBrackets(host);
  refuseForbidden(plain);
  const addresses = await lookup(plain, { all: true }).catch(() => []);
  for (const { address } of addresses) refuseForbidden(address);
}
