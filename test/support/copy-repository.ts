import { cpSync, existsSync, globSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** The repository's own files are copied, and the folders that npm and SST have made are linked. */
export function copyRepository(to: string): void {
  const ours = [
    'package.json',
    'sst.config.ts',
    'packages',
    'functions',
    'ingest-host',
    'model',
    'infra',
    'test/infra/offline',
    'docs',
  ];
  for (const name of ours) {
    cpSync(join(ROOT, name), join(to, name), {
      recursive: true,
      filter: (path) => basename(path) !== 'node_modules',
    });
  }
  const installed = globSync('{node_modules,{functions,ingest-host,model,packages/*}/node_modules}', {
    cwd: ROOT,
  });
  const laidOut = existsSync(join(ROOT, '.sst/platform')) ? [...installed, '.sst/platform'] : installed;
  for (const folder of laidOut) linkEntries(folder, to);
  const scope = join(to, 'node_modules/@video-pipeline');
  mkdirSync(scope);
  for (const name of readdirSync(join(ROOT, 'node_modules/@video-pipeline'))) {
    const room = ['functions', 'ingest-host', 'model'].includes(name) ? name : `packages/${name}`;
    symlinkSync(join(to, room), join(scope, name));
  }
}

function linkEntries(folder: string, to: string): void {
  mkdirSync(join(to, folder), { recursive: true });
  for (const name of readdirSync(join(ROOT, folder))) {
    if (name !== '@video-pipeline') symlinkSync(join(ROOT, folder, name), join(to, folder, name));
  }
}
