import { existsSync, globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => JSON.parse(readFileSync(resolve(root, file), 'utf8'));
const top = read('package.json');

interface Locked {
  link?: boolean;
  integrity?: string;
  hasInstallScript?: boolean;
}
const locked = Object.entries<Locked>(read('package-lock.json').packages).filter(
  ([path, { link }]) => path.includes('node_modules/') && !link,
);

test('each package in the lock file has a SHA-512 hash', () => {
  expect(locked.length).toBeGreaterThan(100);
  const loose = locked.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'));
  expect(loose.map(([path]) => path)).toEqual([]);
});

test('each dependency has one exact version, except for Node itself', () => {
  const files = [
    'package.json',
    ...globSync('{packages/*,functions,ingest-host,model}/package.json', { cwd: root }),
  ];
  for (const file of files) {
    const { dependencies, devDependencies } = read(file);
    const loose = Object.entries<string>({ ...dependencies, ...devDependencies })
      .filter(
        ([name, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version) && !/^(@types\/)?node$/.test(name),
      )
      .map(([name]) => name);
    expect(loose, file).toEqual([]);
  }
});

test('each package with an install script is listed in allowScripts', () => {
  const names = locked
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  expect(names.filter((name) => !Object.hasOwn(top.allowScripts, name))).toEqual([]);
});

test("only Node's own package may run an install script", () => {
  const allowed = Object.keys(top.allowScripts).filter((name) => top.allowScripts[name]);
  expect(allowed).toEqual(['node']);
});

test('SECURITY.md names each package whose install script an older npm would run', () => {
  const [npmrc, security] = ['.npmrc', 'SECURITY.md'].map((file) =>
    readFileSync(resolve(root, file), 'utf8'),
  );
  const run = Object.keys(top.allowScripts).filter((name) => !npmrc?.includes(`${name}-install=skip`));
  expect(run.length).toBeGreaterThan(1);
  expect(run.filter((name) => !security?.includes(`\`${name}\``))).toEqual([]);
});

/** What docs/platforms.md says of builds. */
const BUILDS = [
  [['linux-x64', 'linux-arm64', 'darwin-arm64'], true],
  // It has all but the model.
  [['darwin-x64'], false],
] as const;

test.each(BUILDS)('on %j all native packages have a build, onnxruntime included: %s', (platforms, model) => {
  const has = (name: string) => locked.some(([path]) => path.endsWith(`node_modules/${name}`));
  const native = (path: string) => existsSync(resolve(root, 'node_modules', path));
  for (const platform of platforms) {
    for (const name of ['@seydx/node-av-', '@img/sharp-', '@koromix/koffi-'])
      expect(has(`${name}${platform}`), `${name}${platform}`).toBe(true);
    expect(native(`@julusian/jpeg-turbo/prebuilds/jpeg-turbo-${platform}`), platform).toBe(true);
    expect(native(`onnxruntime-node/bin/napi-v6/${platform.replace('-', '/')}`), platform).toBe(model);
  }
  expect(has('@seydx/node-av-linux-x64-musl')).toBe(false);
});

const dockerfiles = globSync('**/Dockerfile*', {
  cwd: root,
  exclude: (path) => path.includes('node_modules'),
});

test.each(dockerfiles)('the image of %s does not run as root', (file) => {
  const users = readFileSync(resolve(root, file), 'utf8').match(/^USER .+$/gm) ?? [];
  expect(users.at(-1)).toMatch(/^USER (1000(:1000)?|node)$/);
});
