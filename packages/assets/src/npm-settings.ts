import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parse } from 'ini';
import { baseUrl, basicAuth, type Repository, settingsIn } from './repository.ts';

type Settings = Record<string, string | string[]>;

const REMEDY = {
  address: "npm's registry setting (npm config get registry)",
  credentials: '.npmrc (npm login)',
  proxy: "npm's https-proxy setting",
  certificate: "npm's cafile setting",
};

/**
 * The registry that npm would use for a package on this machine, with its credentials, proxy and certificates. The
 * settings come from `npm_config_*`, then from the .npmrc of the project, the user and the system.
 * @param project folder of package.json
 */
export function npmRegistry(packageName: string, project: string): Repository {
  const settings = npmSettings(project);
  const text = (key: string) => (typeof settings[key] === 'string' ? settings[key] : undefined) || undefined;
  const scope = packageName.startsWith('@') ? packageName.slice(0, packageName.indexOf('/')) : '';
  const address = (scope && text(`${scope}:registry`)) || text('registry') || 'https://registry.npmjs.org/';
  const url = baseUrl(address);
  const own = ownSettings(settings, url);
  const file = (path: string | undefined) => (path ? readFileSync(path, 'utf8') : undefined);
  const ca = file(text('cafile')) ?? settings.ca;
  const proxy = text('proxy');
  const cert = file(own.certfile) ?? text('cert');
  const key = file(own.keyfile) ?? text('key');
  return {
    url,
    headers: authorization(own),
    proxy: { http: proxy, https: text('https-proxy') ?? proxy, no: text('noproxy') },
    tls: {
      ...(ca ? { ca } : {}),
      ...(cert && key ? { cert, key } : {}),
      ...(text('strict-ssl') === 'false' ? { rejectUnauthorized: false } : {}),
    },
    remedy: REMEDY,
  };
}

function npmSettings(project: string): Settings {
  const { env } = process;
  const user = env.npm_config_userconfig || join(homedir(), '.npmrc');
  const system = env.npm_config_globalconfig || join(npmPrefix(), 'etc', 'npmrc');
  const files = [system, user, join(project, '.npmrc')].map(readSettings);
  return Object.assign({}, ...files, fromEnvironment());
}

function readSettings(file: string): Settings {
  const settings: Settings = {};
  for (const [key, value] of Object.entries(parse(settingsIn(file)))) {
    settings[key] = Array.isArray(value) ? value.map(withEnvironment) : withEnvironment(String(value));
  }
  return settings;
}

/** Expands `${NAME}` as npm does. */
function withEnvironment(value: string): string {
  return value.replace(/\$\{([^}]+)\}/g, (whole, name: string) => process.env[name] ?? whole);
}

function fromEnvironment(): Settings {
  const settings: Settings = {};
  for (const [name, value] of Object.entries(process.env)) {
    const key = /^npm_config_(.+)$/i.exec(name)?.[1];
    // Addresses and scopes are used as they are. Other names may be written with underscores.
    if (key && value) settings[/^\/\/|:/.test(key) ? key : key.toLowerCase().replace(/(?!^)_/g, '-')] = value;
  }
  return settings;
}

/** Prefix of the npm on PATH. The Node that runs us may be one from node_modules, which has no npm. */
function npmPrefix(): string {
  const folders = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes('node_modules'));
  const own = folders.find((folder) => existsSync(join(folder, 'npm')));
  return own ? dirname(own) : '/usr/local';
}

/** Settings of the form `//host/path/:name`, for the longest path at the start of the registry's address. */
function ownSettings(settings: Settings, url: URL): Record<string, string> {
  const own: Record<string, string> = {};
  const address = `//${url.host}${url.pathname}`;
  const matching = Object.keys(settings).filter((key) => /^\/\/.*:[^/:]+$/.test(key));
  for (const key of matching.sort((a, b) => a.length - b.length)) {
    const [, place = '', name = ''] = /^(\/\/.*):([^/:]+)$/.exec(key) ?? [];
    if (`${address}/`.startsWith(place.endsWith('/') ? place : `${place}/`))
      own[name] = String(settings[key]);
  }
  return own;
}

function authorization(own: Record<string, string>): Record<string, string> {
  const { _authToken, _auth, username, _password } = own;
  if (_authToken) return { authorization: `Bearer ${_authToken}` };
  if (_auth) return { authorization: `Basic ${_auth}` };
  if (!username || !_password) return {};
  return { authorization: basicAuth(username, String(Buffer.from(_password, 'base64'))) };
}
