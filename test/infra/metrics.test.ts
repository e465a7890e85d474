import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { metricUnits, NAMESPACE } from '@video-pipeline/telemetry';
import { describe, expect, test } from 'vitest';
import { awsMetrics } from '../../infra/metrics.ts';
import type { Graph } from '../../infra/offline/evaluate.ts';
import { ROOT } from '../../infra/offline/platform.ts';
import { DEPLOYED, graphOf, ofType } from './graphs.ts';

interface Named {
  namespace: string;
  name: string;
  /** Dimension names, and those values that say who writes the metric. */
  dimensions: Record<string, string>;
}

describe.each(DEPLOYED)('what the dashboard and alarms of %s name', (deployed) => {
  test('is written by the code, under the service that writes it, or is a metric of AWS with its dimensions', async () => {
    const named = namedIn(await graphOf(deployed));
    expect(named.length).toBeGreaterThan(10);
    for (const { namespace, name, dimensions } of named) {
      const where = `${namespace} ${name} ${JSON.stringify(dimensions)}`;
      if (namespace === NAMESPACE) {
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

  test('stands for resources of this stage', async () => {
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

  test('tells someone: every alarm goes to the topic', async () => {
    const graph = await graphOf(deployed);
    const alarms = ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm');
    expect(alarms.length).toBeGreaterThanOrEqual(6);
    for (const { inputs } of alarms) expect(inputs.alarmActions).toEqual([expect.stringContaining(':sns:')]);
  });
});

test('each camera has an alarm for its silence, on each stage that reads it', async () => {
  const names = ofType(await graphOf('production'), 'aws:cloudwatch/metricAlarm:MetricAlarm').map(
    ({ name }) => name,
  );
  for (const stream of ['yard', 'gate', 'fence-south']) {
    expect(names).toEqual(expect.arrayContaining([`Alarm-Silent-${stream}`, `Alarm-Late-${stream}`]));
  }
});

/** Names of metrics by the service that writes them, read from the calls of `emitMetrics` in the code. */
const EMITTED = emitted();

function emitted(): Record<string, string[]> {
  const services: [string, string][] = [
    ['detect', 'functions/src/{detect,records,scenes}.ts'],
    ['annotate', 'functions/src/{annotate,records}.ts'],
    ['notify', 'functions/src/{notify,records}.ts'],
    ['clip', 'functions/src/{clip,records}.ts'],
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
  const found = [...expression.matchAll(/\{(\w+),(\w+),(\w+)\} MetricName="(\w+)" service="(\w+)"/g)];
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
    /^SELECT SUM\((\w+)\) FROM SCHEMA\("(\w+)", (\w+), (\w+)\) WHERE service = '(\w+)'$/.exec(sql) ?? [];
  return [{ namespace, name, dimensions: { [one]: '', [other]: '', service } }];
}
