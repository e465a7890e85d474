import { existsSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { DOMParser, type Element } from '@xmldom/xmldom';
import { baseUrl, basicAuth, type Repository, settingsIn } from './repository.ts';

const REMEDY = {
  address: 'the mirrors in ~/.m2/settings.xml',
  credentials: 'the servers in ~/.m2/settings.xml',
  proxy: 'the proxies in ~/.m2/settings.xml',
  certificate: 'NODE_EXTRA_CA_CERTS',
};

export interface MavenSettings {
  central: Repository;
  /** Folder of the jars that Maven itself has fetched on this machine. */
  localRepository: string;
}

/**
 * Where Maven would fetch the jars of Central, with credentials and proxy, by the settings.xml of the user and of the
 * installation. Neither these files nor Maven are needed.
 */
export function mavenSettings(): MavenSettings {
  const settings = [join(homedir(), '.m2', 'settings.xml'), ...installations()].flatMap(readSettings);
  const all = (...path: string[]) => settings.flatMap((root) => below(root, path));
  const repository = all('profiles', 'profile')
    .filter((profile) => isActive(profile, settings))
    .flatMap((profile) => below(profile, ['repositories', 'repository']))
    .find((one) => text(one, 'id') === 'central');
  const mirror = all('mirrors', 'mirror').find((one) => mirrorsCentral(text(one, 'mirrorOf')));
  const chosen = mirror ?? repository;
  const address = (chosen && text(chosen, 'url')) || 'https://repo.maven.apache.org/maven2';
  const id = (chosen && text(chosen, 'id')) || 'central';
  const server = all('servers', 'server').find((one) => text(one, 'id') === id);
  const proxies = all('proxies', 'proxy').filter((one) => text(one, 'active') !== 'false');
  return {
    central: {
      url: baseUrl(address),
      headers: server ? headersOf(server) : {},
      ...(proxies[0] ? { proxy: proxyOf(proxies) } : {}),
      remedy: REMEDY,
    },
    localRepository:
      settings.map((root) => text(root, 'localRepository')).find(Boolean) ||
      join(homedir(), '.m2', 'repository'),
  };
}

/** settings.xml of the Maven that `MAVEN_HOME` or PATH names. */
function installations(): string[] {
  const { MAVEN_HOME, M2_HOME, PATH = '' } = process.env;
  const program = PATH.split(delimiter)
    .map((folder) => join(folder, 'mvn'))
    .find((file) => existsSync(file));
  const home = MAVEN_HOME || M2_HOME || (program && dirname(dirname(realpathSync(program))));
  return home ? [join(home, 'conf', 'settings.xml')] : [];
}

function readSettings(file: string): Element[] {
  const source = settingsIn(file).replace(/\$\{(?:env\.(\w+)|user\.home)\}/g, (whole, name?: string) =>
    name ? (process.env[name] ?? whole) : homedir(),
  );
  try {
    const root = new DOMParser({ onError: () => {} }).parseFromString(source, 'text/xml').documentElement;
    return root ? [root] : [];
  } catch {
    return [];
  }
}

function below(element: Element, [name, ...rest]: readonly string[]): Element[] {
  if (!name) return [element];
  const children = [...element.childNodes].filter((node) => node.nodeName === name) as Element[];
  return children.flatMap((child) => below(child, rest));
}

function text(element: Element, name: string): string {
  return below(element, [name])[0]?.textContent?.trim() ?? '';
}

function isActive(profile: Element, settings: readonly Element[]): boolean {
  const active = settings.flatMap((root) => below(root, ['activeProfiles', 'activeProfile']));
  if (active.some((one) => one.textContent?.trim() === text(profile, 'id'))) return true;
  return below(profile, ['activation']).some((one) => text(one, 'activeByDefault') === 'true');
}

/** https://maven.apache.org/guides/mini/guide-mirror-settings.html */
function mirrorsCentral(mirrorOf: string): boolean {
  const names = mirrorOf.split(',').map((name) => name.trim());
  return !names.includes('!central') && names.some((name) => ['central', '*', 'external:*'].includes(name));
}

function headersOf(server: Element): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const property of below(server, ['configuration', 'httpHeaders', 'property'])) {
    headers[text(property, 'name').toLowerCase()] = text(property, 'value');
  }
  const [user, password] = [text(server, 'username'), text(server, 'password')];
  if (user) headers.authorization = basicAuth(user, password);
  return headers;
}

function proxyOf(proxies: readonly Element[]): NonNullable<Repository['proxy']> {
  const one = proxies.find((proxy) => text(proxy, 'protocol') === 'https') ?? proxies[0];
  if (!one) return {};
  const url = new URL(`http://${text(one, 'host')}:${text(one, 'port') || '8080'}`);
  url.username = encodeURIComponent(text(one, 'username'));
  url.password = encodeURIComponent(text(one, 'password'));
  return { http: url.href, https: url.href, no: text(one, 'nonProxyHosts').replaceAll('|', ',') };
}
