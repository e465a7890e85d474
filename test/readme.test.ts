import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { variables } from '@video-pipeline/config';
import { expect, test } from 'vitest';
import measured from '../docs/measured/pipeline.json' with { type: 'json' };

const root = resolve(import.meta.dirname, '..');
const path = join(root, 'README.md');
const readme = readFileSync(path, 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The table of environment variables, as the README shows it. */
function variableTable(): string {
  const rows = Object.entries(variables).map(([name, schema]) => {
    const value = schema.safeParse(undefined).data;
    const shown = value === undefined ? '' : `\`${value}\``;
    return `| \`${name}\` | ${schema.description?.replaceAll('|', '\\|')} | ${shown} |`;
  });
  return ['| variable | what for | default |', '| --- | --- | --- |', ...rows].join('\n');
}

test('the README lists every environment variable with its default (UPDATE_README=1 writes them)', () => {
  const section = /(<!-- variables[^\n]*-->\n).*?(<!-- \/variables -->)/s;
  const updated = readme.replace(section, (_, start, end) => `${start}\n${variableTable()}\n\n${end}`);
  if (process.env.UPDATE_README) writeFileSync(path, updated);
  else expect(readme).toBe(updated);
});

/** What `npm run bench -- --save` found. */
function measuredTable(): string {
  const { date, bound, fromKafka, fromFile } = measured;
  const share = (fps: number) => `${fps} | ${Math.round((100 * fps) / bound.fps)} %`;
  const { model, annotate, detect, kafka, s3 } = fromKafka.cpuMs;
  const total = Math.round(model + annotate + detect + kafka + s3);
  return [
    `| ${date} | frames/s | of the bound |`,
    '| --- | --- | --- |',
    `| bare onnxruntime, 2 threads | ${share(bound.fps)} |`,
    `| from frames waiting in Kafka to objects stored | ${share(fromKafka.fps)} |`,
    `| from a video file, through the ingest host, to objects stored | ${share(fromFile.fps)} |`,
    '',
    `Both cores are full: of ${total} CPU ms a frame from Kafka, the model server takes ${model} (inference itself ${bound.cpuMs}, JPEG`,
    `decoding and shrinking most of the rest), annotate ${annotate}, detect ${detect}, Kafka ${kafka}, the S3 server ${s3}; ingest takes`,
    `${fromFile.ingestCpuMs} more.`,
  ].join('\n');
}

test('the README says what was measured last (UPDATE_README=1 writes it)', () => {
  const text = readFileSync(path, 'utf8');
  const section = /(<!-- measured[^\n]*-->\n).*?(<!-- \/measured -->)/s;
  const updated = text.replace(section, (_, start, end) => `${start}\n${measuredTable()}\n\n${end}`);
  if (process.env.UPDATE_README) writeFileSync(path, updated);
  else expect(text).toBe(updated);
});

test.each(['README.md', 'CONTRIBUTING.md', 'docs/deploy.md'])(
  'every npm script that %s calls exists',
  (file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const called = [...text.matchAll(/\bnpm run ([\w:-]*\w)/g)].map(([, script]) => script ?? '');
    expect(called.length).toBeGreaterThan(0);
    expect(called.filter((script) => !(script in manifest.scripts))).toEqual([]);
  },
);

test('every file that the README links to exists', () => {
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, link]) => link ?? '');
  expect(links.length).toBeGreaterThan(3);
  expect(links.map((link) => readFileSync(join(root, link)).length > 0)).not.toContain(false);
});

test('every message that the troubleshooting quotes is one that the source has', () => {
  const [, table = ''] = /^## Troubleshooting$(.*?)^## /ms.exec(readme) ?? [];
  const seen = table.split('\n').map((row) => row.split('|')[1] ?? '');
  const quoted = seen.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? ''));
  // A single word is a column of the table, or a folder; a command is the reader's own.
  const messages = quoted.filter((text) => text.includes(' ') && !text.startsWith('kill '));
  expect(messages.length).toBeGreaterThan(1);
  const sources = globSync(['{packages,functions,ingest-host,model}/**/src/**/*.ts'], {
    cwd: root,
    exclude: (path) => path.includes('node_modules') || path.includes('.test.'),
  }).map((file) => readFileSync(join(root, file), 'utf8'));
  const isSaid = (message: string) => sources.some((text) => patternOf(message).test(text));
  expect(messages.filter((message) => !isSaid(message))).toEqual([]);
  expect(isSaid('no mvn on this machine')).toBe(false);
});

/** Numbers and names may be what a template gives. */
function patternOf(message: string): RegExp {
  const parts = message.split(/\d+|\b[A-Z]\w*/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(parts.join('.*'));
}

test('every test that SECURITY.md takes for proof exists', () => {
  const files = globSync(['{test,packages,functions,ingest-host,model}/**/*.test.ts'], {
    cwd: root,
    exclude: (path) => path.includes('node_modules'),
  });
  const proofs = readFileSync(join(root, 'SECURITY.md'), 'utf8').match(/[\w./-]+\.test\.ts/g) ?? [];
  expect(proofs.length).toBeGreaterThan(10);
  expect(proofs.filter((proof) => !files.some((file) => `/${file}`.endsWith(`/${proof}`)))).toEqual([]);
});
