import { createHash, randomBytes } from 'node:crypto';
import { SourceError } from './source-error.ts';

/** Name and password, not percent-encoded. */
interface Credentials {
  user: string;
  password: string;
}

/** The authorization for a URL's name and password; undefined if it has neither. Some cameras have only a password. */
export function authorizationOf({ username, password }: URL): Authorization | undefined {
  if (!username && !password) return undefined;
  return new Authorization({ user: decoded(username), password: decoded(password) });
}

/** Whether a URL's password may be sent to a host: only to the URL's own, and only over TLS if the URL says TLS. */
export function mayGetPassword(url: URL, hostname: string, isSecure: boolean): boolean {
  return url.hostname.toLowerCase() === hostname.toLowerCase() && (isSecure || !/s:$/.test(url.protocol));
}

/** A part of a URL, percent-decoded; unchanged if the result would not be UTF-8. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, '%25'));
  } catch {
    return text;
  }
}

/** Most repetitions of a request whose nonce was too old each time. */
const MAX_REPEATS = 3;

/** The bytes of a text in UTF-8, one character each: a name may have any letters. */
const bytesOf = (text: string) => Buffer.from(text).toString('latin1');

/**
 * Answers one server's challenges: Basic (RFC 7617) and Digest with MD5 or SHA-256 (RFC 7616), for requests without a
 * body. In headers each character is a byte, as in Node's HTTP: a realm goes back in the server's own encoding.
 */
export class Authorization {
  readonly #credentials: Credentials;
  #challenge: Challenge | undefined;
  #count = 0;

  constructor({ user, password }: Credentials) {
    this.#credentials = { user: bytesOf(user), password: bytesOf(password) };
  }

  /**
   * @param headers values of WWW-Authenticate
   * @param repeats how often the request was repeated
   * @returns whether to repeat it: after the password was sent, only because the nonce was stale (RFC 7616, 3.3)
   * @throws SourceError when no challenge is supported
   */
  challenge(headers: readonly string[], repeats = 0): boolean {
    const all = headers.flatMap((header) => header.split(ANOTHER)).map(parseChallenge);
    const known = ORDER.map((algorithm) => all.find((one) => one.algorithm === algorithm)).find(Boolean);
    if (!known) {
      const names = all.map(({ algorithm }) => algorithm).join(', ') || 'nothing';
      throw new SourceError(`open: authentication by ${names} is not supported (401)`, true);
    }
    this.#challenge = known;
    this.#count = 0;
    return repeats < (known.fields.stale?.toLowerCase() === 'true' ? MAX_REPEATS : 1);
  }

  /** The value of Authorization; undefined before a challenge. */
  header(method: string, uri: string): string | undefined {
    const { user, password } = this.#credentials;
    if (!this.#challenge) return undefined;
    const { algorithm, fields } = this.#challenge;
    if (algorithm === 'basic')
      return `Basic ${Buffer.from(`${user}:${password}`, 'latin1').toString('base64')}`;
    const { realm = '', nonce = '', opaque, qop } = fields;
    const [name = '', isSession] = algorithm.split(/(-sess)$/);
    const hash = (text: string) => createHash(name.replace('-', '')).update(text, 'latin1').digest('hex');
    this.#count += 1;
    const [nc, cnonce] = [this.#count.toString(16).padStart(8, '0'), randomBytes(8).toString('hex')];
    const secret = hash(`${user}:${realm}:${password}`);
    const key = isSession ? hash(`${secret}:${nonce}:${cnonce}`) : secret;
    const offered = qop?.split(/[\s,]+/) ?? [];
    const quality = ['auth', 'auth-int'].find((one) => offered.includes(one));
    const request = hash(`${method}:${uri}${quality === 'auth-int' ? `:${hash('')}` : ''}`);
    const parts = [
      `username=${quoted(user)}`,
      `realm=${quoted(realm)}`,
      `nonce=${quoted(nonce)}`,
      `uri="${uri}"`,
    ];
    if (fields.algorithm) parts.push(`algorithm=${fields.algorithm}`);
    if (opaque !== undefined) parts.push(`opaque=${quoted(opaque)}`);
    if (isSession || quality) parts.push(`cnonce="${cnonce}"`);
    if (!quality) return `Digest ${parts.join(', ')}, response="${hash(`${key}:${nonce}:${request}`)}"`;
    const response = hash(`${key}:${nonce}:${nc}:${cnonce}:${quality}:${request}`);
    return `Digest ${parts.join(', ')}, qop=${quality}, nc=${nc}, response="${response}"`;
  }
}

const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Separator of several challenges in one header. */
const ANOTHER = /\s*,\s*(?=(?:basic|bearer|digest|negotiate|ntlm)\s)/i;

/** The strongest algorithm first. */
const ORDER = ['sha-256', 'sha-256-sess', 'md5', 'md5-sess', 'basic'];

interface Challenge {
  /** `basic`, or Digest's algorithm, in lower case. */
  algorithm: string;
  fields: Record<string, string | undefined>;
}

function parseChallenge(header: string): Challenge {
  const [scheme = '', rest = ''] = header.trim().split(/\s+(.*)/s);
  const fields: Challenge['fields'] = Object.create(null);
  // Names are matched from their first letter only: from every letter, a long name would take seconds.
  const field = /(?<![a-z-])([a-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/gi;
  for (const [, name = '', quoted, plain] of rest.matchAll(field)) {
    fields[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain;
  }
  if (scheme.toLowerCase() !== 'digest') return { algorithm: scheme.toLowerCase(), fields };
  return { algorithm: (fields.algorithm ?? 'MD5').toLowerCase(), fields };
}
