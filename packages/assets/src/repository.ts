import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import tls, { type SecureContextOptions } from 'node:tls';

// Not by `import`, which also loads Node's WebSocket and fetch.
const [http, https] = [process.getBuiltinModule('node:http'), process.getBuiltinModule('node:https')];

/** A source of files, and how this machine reaches it, by the settings of npm, pip or Maven. */
export interface Repository {
  /** Base of the addresses, with a slash at its end. */
  url: URL;
  /** Headers for its own host only. */
  headers?: Readonly<Record<string, string>>;
  /** Proxies by scheme, and the hosts without a proxy, separated by commas. Left out: the environment's settings. */
  proxy?: { http?: string | undefined; https?: string | undefined; no?: string | undefined };
  tls?: SecureContextOptions & { rejectUnauthorized?: boolean };
  /** Where a person changes these settings. */
  remedy: { address: string; credentials: string; proxy: string; certificate: string };
}

/** The base of a repository, from an address with or without a slash at its end. */
export const baseUrl = (address: string) => new URL(address.endsWith('/') ? address : `${address}/`);

/** Value of the header `authorization`. */
export const basicAuth = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

/** A file of settings; empty if there is none. */
export function settingsIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** A request without a usable answer. */
export class RepositoryError extends Error {
  override readonly name = 'RepositoryError';
  /** Whether the same request may succeed a moment later. */
  readonly isTemporary: boolean;
  readonly remedy: string;

  constructor(message: string, remedy: string, isTemporary = false, options?: ErrorOptions) {
    super(message, options);
    this.remedy = remedy;
    this.isTemporary = isTemporary;
  }
}

/** A connection is closed after this long without a byte, milliseconds. */
const IDLE_MS = 30_000;
const MAX_REDIRECTS = 5;
const PARALLEL = 8;

type Agents = { 'http:': InstanceType<typeof http.Agent>; 'https:': InstanceType<typeof https.Agent> };
const agentsOf = new WeakMap<Repository, Agents>();

/**
 * Requests `url`, an address in `repository` or one that it names.
 * @returns the answer, 200 or 206, with its body not read yet
 * @throws RepositoryError
 */
export async function request(
  repository: Repository,
  url: URL,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  let at = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const own = at.origin === repository.url.origin ? repository.headers : {};
    const response = await requestOnce(repository, at, { ...headers, ...own });
    const { statusCode = 0, headers: answered } = response;
    if (statusCode === 200 || statusCode === 206) return response;
    response.destroy();
    if (statusCode < 300 || statusCode >= 400 || !answered.location)
      throw refusal(repository, at, statusCode);
    at = new URL(answered.location, at);
  }
  throw new RepositoryError(`${url.host} redirects without end`, `check ${repository.remedy.address}`);
}

async function requestOnce(
  repository: Repository,
  url: URL,
  headers: Readonly<Record<string, string>>,
): Promise<IncomingMessage> {
  const { protocol } = url;
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new RepositoryError(`${url.protocol} can't be fetched`, `check ${repository.remedy.address}`);
  }
  const agent = agents(repository)[protocol];
  const { get } = protocol === 'https:' ? https : http;
  try {
    return await new Promise((resolve, reject) => {
      const request = get(url, { agent, headers: { 'user-agent': 'video-pipeline', ...headers } }, resolve);
      request.on('error', reject);
      const silent = Object.assign(new Error(`nothing came for ${IDLE_MS / 1000} s`), { code: 'ETIMEDOUT' });
      request.setTimeout(IDLE_MS, () => request.destroy(silent));
    });
  } catch (cause) {
    throw failure(repository, url, cause as NodeJS.ErrnoException);
  }
}

function agents(repository: Repository): Agents {
  const known = agentsOf.get(repository);
  if (known) return known;
  const { proxy, tls: own, remedy } = repository;
  const { env } = process;
  const shared = {
    keepAlive: true,
    maxSockets: PARALLEL,
    proxyEnv: {
      HTTP_PROXY: proxyUrl(proxy?.http ?? env.http_proxy ?? env.HTTP_PROXY, remedy),
      HTTPS_PROXY: proxyUrl(proxy?.https ?? env.https_proxy ?? env.HTTPS_PROXY, remedy),
      NO_PROXY: withSubdomains(proxy?.no ?? env.no_proxy ?? env.NO_PROXY ?? ''),
    },
  };
  // Node's certificates, and those of the machine: a company's own authority is often only on the machine.
  const ca = [...tls.getCACertificates('default'), ...tls.getCACertificates('system')];
  const made = { 'http:': new http.Agent(shared), 'https:': new https.Agent({ ...shared, ca, ...own }) };
  agentsOf.set(repository, made);
  return made;
}

/**
 * A proxy's address in the form that Node accepts. Other programs also accept `proxy:8080`. Node silently uses no proxy
 * if it does not know the form.
 * @throws RepositoryError for an address that can't be one, without its password
 */
function proxyUrl(given: string | undefined, { proxy }: Repository['remedy']): string | undefined {
  if (!given) return undefined;
  const text = given.includes('://') ? given : `http://${given}`;
  try {
    const { protocol, username, password } = new URL(text);
    decodeURIComponent(username + password);
    if (protocol === 'http:' || protocol === 'https:') return text;
  } catch {}
  throw new RepositoryError(
    'the proxy that is set up is not of the form http://user:password@proxy:port, with % in a password as %25',
    `check ${proxy}, HTTP_PROXY and HTTPS_PROXY`,
  );
}

/** Other programs apply `example.com` to its subdomains, too. For Node they must be listed. */
function withSubdomains(hosts: string): string {
  const names = hosts.split(/[,\s|]+/).filter(Boolean);
  return names.flatMap((name) => (/^[\w-]+(\.[\w-]+)*$/.test(name) ? [name, `.${name}`] : [name])).join(',');
}

function refusal({ remedy }: Repository, url: URL, status: number): RepositoryError {
  const text = `${url.host} answers ${status}`;
  if (status === 401 || status === 403) {
    return new RepositoryError(`${text}: it wants other credentials`, `set them in ${remedy.credentials}`);
  }
  if (status === 407) return proxyAsks(remedy.proxy);
  if (status === 404 || status === 410) {
    return new RepositoryError(`${text}: it has no such file`, `check ${remedy.address}`);
  }
  if (status === 416) return new RepositoryError(text, 'start again', true);
  const isTemporary = status === 408 || status === 429 || status >= 500;
  return new RepositoryError(text, `try again later, or check ${remedy.address}`, isTemporary);
}

function proxyAsks(setting: string): RepositoryError {
  return new RepositoryError(
    'the proxy asks for a user and password (407)',
    `write them as http://user:password@proxy:port into ${setting}`,
  );
}

function failure({ remedy }: Repository, url: URL, cause: NodeJS.ErrnoException): RepositoryError {
  const { code = '', message } = cause;
  if (code === 'ERR_PROXY_TUNNEL') {
    if ((cause as { statusCode?: number }).statusCode === 407) return proxyAsks(remedy.proxy);
    return new RepositoryError(`the proxy does not let us through to ${url.host}`, `check ${remedy.proxy}`);
  }
  if (/CERT|SIGNATURE|ISSUER|ALTNAME/.test(code)) {
    const text = `the certificate of ${url.host} is not trusted (${code})`;
    const authority = `name the authority that signed it in ${remedy.certificate}`;
    return new RepositoryError(text, authority, false, { cause });
  }
  const reason = code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? `${url.host} is not known` : message;
  const check = `check the network, ${remedy.address}, and ${remedy.proxy}`;
  return new RepositoryError(reason || code, check, code !== 'ENOTFOUND', { cause });
}

/** Fetches a text of at most 32 MB, such as an index. @throws RepositoryError */
export async function requestText(repository: Repository, url: URL, accept: string): Promise<string> {
  const response = await request(repository, url, { accept });
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response) {
    bytes += part.length;
    if (bytes > 32e6)
      throw new RepositoryError(`${url.host} sends an index without end`, 'check its address');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}
