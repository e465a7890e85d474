import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STAGES } from '@video-pipeline/stages';
import { createLogger, emitMetrics, metricUnits } from '@video-pipeline/telemetry';
import { describe, expect, test, vi } from 'vitest';
import { awsMetrics, namespaceOf } from '../../infra/metrics.ts';
import { DEPLOYED, EVALUATIONS, graphOf, ofType } from './graphs.ts';
import type { Graph } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';

interface Named {
  namespace: string;
  name: string;
  /** Dimension names, and those values that say who writes the metric. */
  dimensions: Record<string, string>;
}

describe.each(DEPLOYED)('the metrics in the dashboard and alarms of %s', (deployed) => {
  test('are written by the code with the same service name, or are AWS metrics with valid dimensions', async () => {
    const graph = await graphOf(deployed);
    const named = namedIn(graph);
    const filtered = ofType(graph, 'aws:cloudwatch/logMetricFilter:LogMetricFilter').map(
      ({ inputs }) => inputs.metricTransformation,
    );
    expect(named.length).toBeGreaterThan(10);
    for (const { namespace, name, dimensions } of named) {
      const where = `${namespace} ${name} ${JSON.stringify(dimensions)}`;
      if (namespace.startsWith('VideoPipeline')) {
        expect(namespace, where).toBe(namespaceOf(EVALUATIONS[deployed].stage));
        if (filtered.some((one) => one.name === name && one.namespace === namespace)) continue;
        expect(Object.keys(dimensions).sort(), where).toEqual(['service', 'stream']);
        expect(EMITTED[dimensions.service ?? ''], where).toContain(name);
      } else {
        const known = awsMetrics[namespace as keyof typeof awsMetrics];
        expect(known?.names, where).toContain(name);
        const allowed: readonly string[] = known.dimensions;
        expect(
          Object.keys(dimensions).every((one) => allowed.includes(one)),
          where,
        ).toBe(true);
      }
    }
  });

  test('have dimensions of functions, clusters and topics of this stage', async () => {
    const graph = await graphOf(deployed);
    const functions = ofType(graph, 'aws:lambda/function:Function').map(({ inputs }) => inputs.name);
    const clusters = ofType(graph, 'aws:msk/cluster:Cluster').map(({ inputs }) => inputs.clusterName);
    for (const { dimensions } of namedIn(graph)) {
      if (dimensions.FunctionName) expect(functions).toContain(dimensions.FunctionName);
      if (dimensions['Cluster Name']) expect(clusters).toContain(dimensions['Cluster Name']);
    }
    const groups = ofType(graph, 'aws:cloudwatch/logGroup:LogGroup').map(({ inputs }) => inputs.name);
    for (const { inputs } of ofType(graph, 'aws:cloudwatch/queryDefinition:QueryDefinition')) {
      if (deployed !== 'dev') expect(groups).toEqual(expect.arrayContaining(inputs.logGroupNames));
    }
  });

  test('belong to alarms that notify the SNS topic', async () => {
    const graph = await graphOf(deployed);
    const alarms = ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm');
    expect(alarms.length).toBeGreaterThanOrEqual(6);
    for (const { inputs } of alarms) expect(inputs.alarmActions).toEqual([expect.stringContaining(':sns:')]);
  });
});

test('each stage of an account has its own metrics namespace, and every process gets its name', async () => {
  const seen = new Set<string>();
  for (const deployed of ['production', 'staging', 'personal'] as const) {
    const graph = await graphOf(deployed);
    const namespace = namespaceOf(EVALUATIONS[deployed].stage);
    expect(seen).not.toContain(namespace);
    seen.add(namespace);
    for (const { inputs, name } of ofType(graph, 'aws:lambda/function:Function'))
      expect(inputs.environment.variables.METRICS_NAMESPACE, name).toBe(namespace);
    for (const { inputs, name } of ofType(graph, 'aws:ecs/taskDefinition:TaskDefinition')) {
      if (!/^Ingest\d/.test(name)) continue;
      const [{ environment }] = JSON.parse(inputs.containerDefinitions);
      expect(environment, name).toContainEqual({ name: 'METRICS_NAMESPACE', value: namespace });
    }
  }
});

test('production has an alarm for a silent and for a late camera, for each camera', async () => {
  const names = ofType(await graphOf('production'), 'aws:cloudwatch/metricAlarm:MetricAlarm').map(
    ({ name }) => name,
  );
  for (const stream of ['yard', 'gate', 'fence-south']) {
    expect(names).toEqual(expect.arrayContaining([`Alarm-Silent-${stream}`, `Alarm-Late-${stream}`]));
  }
});

test("sst dev has no alarms of cameras, because its processes write their metrics on the developer's machine", async () => {
  const names = ofType(await graphOf('dev'), 'aws:cloudwatch/metricAlarm:MetricAlarm').map(
    ({ name }) => name,
  );
  expect(names.filter((name) => /^Alarm-(Silent|Late)-/.test(name))).toEqual([]);
});

test('saved queries of Logs Insights use only fields that log lines have', async () => {
  const known = new Set(['@timestamp', '@log', ...fieldsOf(errorLine()), ...fieldsOf(metricsLine())]);
  const queries = ofType(await graphOf('production'), 'aws:cloudwatch/queryDefinition:QueryDefinition');
  expect(queries.length).toBeGreaterThanOrEqual(3);
  for (const { name, inputs } of queries) {
    const query: string = inputs.queryString;
    const named = [...query.matchAll(/\bas (\w+)/g)].map(([, alias]) => alias ?? '');
    const words = query.replaceAll(/"[^"]*"/g, '').match(/@?[a-zA-Z][\w.]*(?![\w.]*\()/g) ?? [];
    const fields = words.filter((word) => !KEYWORDS.has(word) && !named.includes(word));
    expect(fields.length, name).toBeGreaterThan(0);
    expect([...known], name).toEqual(expect.arrayContaining(fields));
  }
});

/** Of the language of Logs Insights, as far as the queries use it; `m` stands for minutes. */
const KEYWORDS = new Set(
  'fields filter stats sort limit by in as desc m sum pct coalesce ispresent bin'.split(' '),
);

function errorLine(): string {
  return written(() => createLogger('detect').error('message', new Error('cause')));
}

function metricsLine(): string {
  const all = Object.keys(metricUnits).map((name) => [name, 1]);
  const several = { CaptureToStored: [1, 2] };
  return [{ ...Object.fromEntries(all) }, several]
    .map((values) => written(() => emitMetrics('annotate', 'yard', values)))
    .join('\n');
}

function written(work: () => void): string {
  let text = '';
  const keep = (line: unknown) => {
    text += `${line}\n`;
    return true;
  };
  const spies = [
    ...[process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockImplementation(keep)),
    vi.spyOn(console, 'log').mockImplementation(keep),
  ];
  work();
  for (const spy of spies) spy.mockRestore();
  return text;
}

/** The fields that Logs Insights finds in lines of JSON: those of objects by a dot, values of lists by their place. */
function fieldsOf(lines: string): string[] {
  const flat = (value: unknown, path: string): string[] =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, part]) => flat(part, path ? `${path}.${name}` : name))
      : [path];
  return lines
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .flatMap((line) => flat(JSON.parse(line), ''));
}

/** Names of metrics by the service that writes them, read from the calls of `emitMetrics` in the code. */
const EMITTED = emitted();

function emitted(): Record<string, string[]> {
  const services: [string, string][] = [
    ...STAGES.map(({ name, handler }): [string, string] => [
      name,
      `{${handler},functions/src/records.ts${name === 'detect' ? ',functions/src/scenes.ts' : ''}}`,
    ]),
    ['ingest', 'ingest-host/src/report.ts'],
  ];
  return Object.fromEntries(
    services.map(([service, pattern]) => {
      const code = globSync(pattern, { cwd: ROOT })
        .map((file) => readFileSync(join(ROOT, file), 'utf8'))
        .join('\n');
      expect(code).toMatch(/emitMetrics\(/);
      return [service, Object.keys(metricUnits).filter((name) => new RegExp(`\\b${name}\\b`).test(code))];
    }),
  );
}

function namedIn(graph: Graph): Named[] {
  return [
    ...ofType(graph, 'aws:cloudwatch/dashboard:Dashboard').flatMap(({ inputs }) =>
      onDashboard(inputs.dashboardBody),
    ),
    ...ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').flatMap(({ inputs }) => inAlarm(inputs)),
  ];
}

function onDashboard(body: string): Named[] {
  const { widgets } = JSON.parse(body);
  return widgets.flatMap(({ properties }: { properties: { metrics: unknown[][] } }) =>
    properties.metrics.flatMap(inLine),
  );
}

function inLine(line: unknown[]): Named[] {
  const [first] = line;
  if (typeof first === 'object') return inSearch((first as { expression: string }).expression);
  const [namespace, name, ...pairs] = line.filter((one) => typeof one === 'string');
  const dimensions: Record<string, string> = {};
  for (let at = 0; at < pairs.length; at += 2) dimensions[pairs[at] ?? ''] = pairs[at + 1] ?? '';
  return [{ namespace: namespace ?? '', name: name ?? '', dimensions }];
}

function inSearch(expression: string): Named[] {
  const found = [...expression.matchAll(/\{"([\w/-]+)",(\w+),(\w+)\} MetricName="(\w+)" service="(\w+)"/g)];
  expect(found.length, expression).toBeGreaterThan(0);
  return found.map(([, namespace = '', one = '', other = '', name = '', service = '']) => ({
    namespace,
    name,
    dimensions: { [one]: '', [other]: '', service },
  }));
}

function inAlarm(inputs: Record<string, any>): Named[] {
  if (!inputs.metricQueries) {
    return [{ namespace: inputs.namespace, name: inputs.metricName, dimensions: inputs.dimensions }];
  }
  const sql = inputs.metricQueries[0].expression;
  const [, name = '', namespace = '', one = '', other = '', service = ''] =
    /^SELECT SUM\((\w+)\) FROM SCHEMA\("([\w/-]+)", (\w+), (\w+)\) WHERE service = '(\w+)'$/.exec(sql) ?? [];
  return [{ namespace, name, dimensions: { [one]: '', [other]: '', service } }];
}
