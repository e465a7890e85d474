import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STAGES } from '@video-pipeline/stages';
import { describe, expect, test } from 'vitest';
import { title } from '../../infra/settings.ts';
import { DEPLOYED, graphOf, ofType, one } from './graphs.ts';
import { ROOT } from './offline/platform.ts';

const text = readFileSync(join(ROOT, 'docs/runbooks.md'), 'utf8');
const pages = text.split(/^## /m).slice(1);
const byHeading = new Map(pages.map((page) => [page.split('\n', 1)[0], page]));

const OF_A_STAGE = new RegExp(
  `^(${STAGES.map(({ name }) => title(name)).join('|')})(?=(Lag|Failed|Errors)$)`,
);
/** The heading of an alarm's page: its name, or for a stage of the pipeline, `Stage` and what is wrong with it. */
const headingOf = (alarm: string) =>
  (/^Alarm-([A-Za-z]+)/.exec(alarm)?.[1] ?? '').replace(OF_A_STAGE, 'Stage');

describe.each(DEPLOYED)('each alarm of %s', (deployed) => {
  test('links to its runbook, which has steps to take', async () => {
    const alarms = ofType(await graphOf(deployed), 'aws:cloudwatch/metricAlarm:MetricAlarm');
    expect(alarms.length).toBeGreaterThan(0);
    for (const { name, inputs } of alarms) {
      const heading = headingOf(name);
      expect(inputs.alarmDescription, name).toContain(` See docs/runbooks.md#${heading.toLowerCase()}.`);
      const page = byHeading.get(heading);
      expect(page, `docs/runbooks.md has a page ${heading}`).toBeDefined();
      expect(page).toMatch(/\*\*Symptom\*\*[\s\S]*\*\*Check\*\*[\s\S]*\*\*Fix\*\*|^\w+\s+As \w+/);
    }
  });
});

test('each runbook belongs to an alarm, and each link between runbooks leads to an existing one', async () => {
  const graphs = await Promise.all([...DEPLOYED, 'canary' as const].map(graphOf));
  const keys = graphs.flatMap((graph) =>
    ofType(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm').map(({ name }) => headingOf(name)),
  );
  for (const [heading, page] of byHeading) {
    // Of all alarms.
    if (heading?.includes(' ')) continue;
    expect(keys, heading).toContain(heading);
    const [, other] = /\n\nAs (\w+)/.exec(page) ?? [];
    if (other) expect([...byHeading.keys()], heading).toContain(other);
  }
});

test('an alarm counts new objects under aws/lambda/, where batches that Lambda gave up on are stored', async () => {
  for (const deployed of DEPLOYED) {
    const graph = await graphOf(deployed);
    const { bucket, name, filter } = one(graph, 'aws:s3/bucketMetric:BucketMetric', 'LostBatches').inputs;
    expect(filter).toEqual({ prefix: 'aws/lambda/' });
    const alarm = one(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm', 'Alarm-LostBatches').inputs;
    expect(alarm).toMatchObject({
      namespace: 'AWS/S3',
      metricName: 'PutRequests',
      dimensions: { BucketName: bucket, FilterId: name },
      threshold: 0,
    });
  }
});

test('the runbooks give the recovery point objective (RPO) and the recovery time objective (RTO)', () => {
  expect(text).toContain('(RPO)');
  expect(text).toContain('(RTO)');
});
