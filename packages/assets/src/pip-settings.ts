import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { baseUrl, basicAuth, type Repository, settingsIn } from './repository.ts';

const REMEDY = {
  address: "pip's index-url (PIP_INDEX_URL)",
  credentials: "pip's index-url, as https://user:password@host/, or ~/.netrc",
  proxy: "pip's proxy setting (PIP_PROXY)",
  certificate: "pip's cert setting (PIP_CERT)",
};

/**
 * The indexes that pip would use on this machine, in order, with their credentials, proxy and certificates. The
 * settings come from `PIP_*`, then from the pip.conf of the environment, the user and the system.
 */
export function pipIndexes(): Repository[] {
  const settings = pipSettings();
  const words = (key: string) => (settings.get(key) ?? '').split(/\s+/).filter(Boolean);
  const [main = 'https://pypi.org/simple'] = words('index-url');
  const trusted = words('trusted-host');
  const proxy = settings.get('proxy');
  const proxies = proxy && (/^\w+:\/\//.test(proxy) ? proxy : `http://${proxy}`);
  const { REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE } = process.env;
  const ca = settings.get('cert') || REQUESTS_CA_BUNDLE || CURL_CA_BUNDLE;
  const clientCertificate = settings.get('client-cert');
  const client = clientCertificate && readFileSync(clientCertificate);
  return [main, ...words('extra-index-url')].map((address) => {
    const url = baseUrl(address);
    const headers = authorization(url);
    url.username = url.password = '';
    const isTrusted = [url.hostname, url.host].some((host) => trusted.includes(host));
    return {
      url,
      headers,
      ...(proxies ? { proxy: { http: proxies, https: proxies } } : {}),
      tls: {
        ...(ca ? { ca: readFileSync(ca) } : {}),
        ...(client ? { cert: client, key: client } : {}),
        ...(isTrusted ? { rejectUnauthorized: false } : {}),
      },
      remedy: REMEDY,
    };
  });
}

/** All settings. Later files override earlier ones, and the environment overrides all files. */
function pipSettings(): Map<string, string> {
  const settings = new Map<string, string>();
  for (const file of settingsFiles()) {
    for (const [key, value] of readSettings(file)) settings.set(key, value);
  }
  for (const [name, value] of Object.entries(process.env)) {
    const key = /^PIP_(.+)$/.exec(name)?.[1];
    if (key && value) settings.set(key.toLowerCase().replaceAll('_', '-'), value);
  }
  return settings;
}

/** https://pip.pypa.io/en/stable/topics/configuration/#location */
function settingsFiles(): string[] {
  const { env, platform } = process;
  const home = homedir();
  if (env.PIP_CONFIG_FILE) return [env.PIP_CONFIG_FILE];
  const rootsOfMacOS = platform === 'darwin' ? ['/', home] : [];
  return [
    '/etc/xdg/pip/pip.conf',
    '/etc/pip.conf',
    join(home, '.pip', 'pip.conf'),
    join(env.XDG_CONFIG_HOME || join(home, '.config'), 'pip', 'pip.conf'),
    ...rootsOfMacOS.map((root) => join(root, 'Library/Application Support/pip/pip.conf')),
    ...(env.VIRTUAL_ENV ? [join(env.VIRTUAL_ENV, 'pip.conf')] : []),
  ];
}

/** `[global]`, then `[install]`, which overrides it. A line that begins with a blank continues the value before it. */
function readSettings(file: string): [string, string][] {
  const sections: Record<'global' | 'install', [string, string][]> = { global: [], install: [] };
  let current: [string, string][] | undefined;
  for (const line of settingsIn(file).split(/\r?\n/)) {
    const header = /^\[(\w+)\]/.exec(line)?.[1];
    const [, key, value = ''] = /^([\w-]+)\s*[=:]\s*(.*)$/.exec(line) ?? [];
    const last = current?.at(-1);
    if (header) current = header === 'global' || header === 'install' ? sections[header] : undefined;
    else if (key) current?.push([key.toLowerCase().replaceAll('_', '-'), value.trim()]);
    else if (last && /^\s+[^#;\s]/.test(line)) last[1] += ` ${line.trim()}`;
  }
  return [...sections.global, ...sections.install];
}

function authorization(url: URL): Record<string, string> {
  const [user, password] = url.username
    ? [decodeURIComponent(url.username), decodeURIComponent(url.password)]
    : netrc(url.hostname);
  if (!user) return {};
  return { authorization: basicAuth(user, password ?? '') };
}

/** Login and password of a host in ~/.netrc. */
function netrc(host: string): (string | undefined)[] {
  const words = settingsIn(process.env.NETRC || join(homedir(), '.netrc')).split(/\s+/);
  const start = words.findIndex((word, index) => word === 'machine' && words[index + 1] === host);
  if (start < 0) return [];
  const end = words.indexOf('machine', start + 1);
  const own = words.slice(start + 2, end < 0 ? undefined : end);
  const after = (word: string) => own[own.indexOf(word) + 1];
  return own.includes('login') ? [after('login'), own.includes('password') ? after('password') : ''] : [];
}
