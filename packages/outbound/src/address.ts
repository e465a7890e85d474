import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { BlockList, isIP } from 'node:net';

/** A connection to an address that is never allowed. */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
}

/**
 * Addresses that are never a camera's or a webhook's: link-local ones (RFC 3927, RFC 4291), where clouds serve
 * credentials, metadata addresses that are not link-local (AWS over IPv6, Azure, Alibaba, Oracle), unspecified,
 * multicast, broadcast.
 */
const forbidden = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['192.0.0.192', 32],
  ['224.0.0.0', 4],
  ['255.255.255.255', 32],
  ['::', 128],
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  forbidden.addSubnet(net, prefix, net.includes(':') ? 'ipv6' : 'ipv4');
}
/** NAT64 (RFC 6052), 6to4 (RFC 3056) and IPv4-compatible addresses: the first byte of the IPv4 address inside. */
const EMBEDDED = [
  { list: subnet('64:ff9b::', 96), at: 12 },
  { list: subnet('2002::', 16), at: 2 },
  { list: subnet('::', 96), at: 12 },
];

function subnet(net: string, prefix: number): BlockList {
  const list = new BlockList();
  list.addSubnet(net, prefix, 'ipv6');
  return list;
}

/** The host of a URL, without the brackets of an IPv6 address. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}

/**
 * @param address an IP address in any of its forms, with or without a zone
 * @example
 * ['169.254.169.254', '192.168.0.7'].map(isForbidden); // => [true, false]
 */
export function isForbidden(address: string): boolean {
  const plain = address.replace(/%.*$/, '');
  const family = isIP(plain);
  if (family === 0) return true;
  // IPv4 mapped into IPv6 is looked up as IPv4 by BlockList itself.
  if (forbidden.check(plain, family === 4 ? 'ipv4' : 'ipv6')) return true;
  if (family === 4 || plain === '::1') return false;
  const inside = EMBEDDED.find(({ list }) => list.check(plain, 'ipv6'));
  return (
    inside !== undefined && forbidden.check([...bytesOf(plain).subarray(inside.at, inside.at + 4)].join('.'))
  );
}

function bytesOf(address: string): Buffer {
  // The URL parser writes an address without dots. Then only `::` is to be expanded.
  const [before = '', after] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text = '') => text.split(':').filter(Boolean);
  const [first, last] = [groups(before), groups(after)];
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0');
  return Buffer.from([...first, ...zeros, ...last].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

type Callback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/** `dns.lookup` for sockets. A name fails to resolve if one of its addresses is forbidden. */
export function lookupAllowed(host: string, options: LookupOptions, callback: Callback): void {
  lookup(host, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, '');
    const bad = addresses.find(({ address }) => isForbidden(address));
    if (bad)
      return callback(new OutboundError(`${host} is ${bad.address}, a link-local or reserved address`), '');
    const [first] = addresses;
    if (options.all) callback(null, addresses);
    else callback(null, first?.address ?? '', first?.family);
  });
}
