import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { metricUnits, variantUnits } from '@video-pipeline/telemetry';
import type { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createMetrics as ingestMetrics } from '../ingest-host/src/health.ts';
import { createMetrics } from '../model/src/server/metrics.ts';
import { consoleMetrics } from '../packages/console/src/metrics.ts';
import { createStageMetrics } from '../packages/event-source/src/metrics.ts';
import { expectGenerated } from './support/generated.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

/** What the source says of each metric that goes to CloudWatch. */
function cloudWatchRows(
  list: 'metricUnits' | 'variantUnits',
  units: Readonly<Record<string, string>>,
): string[] {
  const source = read('packages/telemetry/src/emf.ts');
  const [, table = ''] = new RegExp(`export const ${list} = \\{\\n(.*?)\\n\\}`, 's').exec(source) ?? [];
  const rows: string[] = [];
  let description = '';
  for (const line of table.split('\n')) {
    description = /\/\*\* (.*?) \*\//.exec(line)?.[1] ?? description;
    const [, name] = /^ {2}(\w+): MetricUnit/.exec(line) ?? [];
    if (name) rows.push(`| \`${name}\` | ${units[name]} | ${description} |`);
  }
  expect(rows).toHaveLength(Object.keys(units).length);
  return ['| metric | unit | counts |', '| --- | --- | --- |', ...rows];
}

async function prometheusRows(registry: Registry): Promise<string[]> {
  const metrics = (await registry.getMetricsAsJSON()).filter(({ name }) => !/^(process|nodejs)_/.test(name));
  const rows = metrics.map(({ name, help, type }) => `| \`${name}\` | ${type} | ${help} |`);
  return ['| metric | type | counts |', '| --- | --- | --- |', ...rows];
}

const GPU = { index: '0', memoryUsedBytes: 1, memoryTotalBytes: 2, utilisation: 0.5 };

test('docs/metrics.md has each metric', async () => {
  const model = createMetrics(
    () => new Map(),
    async () => [GPU],
  );
  const live = { streams: () => [], subscribe() {} } as never;
  const console = consoleMetrics({ parts: {}, lags: () => [], failed: new Map() }, live, () => 0);
  const ingest = ingestMetrics({ stats: new Map(), waitingBytes: 0 });
  const made = [
    '## CloudWatch',
    '',
    'Namespace `METRICS_NAMESPACE`; dimensions `service` (the stage, or `ingest`) and `stream`. `Failures` has `service` and `code`',
    'instead: [failures.md](failures.md).',
    '',
    ...cloudWatchRows('metricUnits', metricUnits),
    '',
    'While a second model server is tried ([canary.md](canary.md)), with the dimensions `service` and `variant`, `main` or `canary`:',
    '',
    ...cloudWatchRows('variantUnits', variantUnits),
    '',
    '## Prometheus: ingest host, `HEALTH_PORT`',
    '',
    ...(await prometheusRows(ingest.registry)),
    '',
    '## Prometheus: model server, `PORT`',
    '',
    ...(await prometheusRows(model.registry)),
    '',
    '## Prometheus: console, `CONSOLE_PORT`',
    '',
    ...(await prometheusRows(console)),
    '',
    '## Prometheus: stages on one machine',
    '',
    'The same counts as in CloudWatch. Labels: `service` and `stream`, or `service` and `variant`.',
    '',
    ...(await prometheusRows(createStageMetrics())),
  ].join('\n');
  expectGenerated('docs/metrics.md', 'metrics', made);
});
