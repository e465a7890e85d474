import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '@video-pipeline/config';
import { describe, expect, test } from 'vitest';
import {
  FAILED_FOLDERS,
  groupOf,
  isEnabled,
  STAGE_VARIABLES,
  STAGES,
  stagesOf,
  topicOf,
  topicsOf,
} from './index.ts';

const ROOT = join(import.meta.dirname, '../../..');
const config = readConfig(STAGE_VARIABLES, {});
/** The stages of the product, whatever others there are. */
const OF_PRODUCT = ['detect', 'annotate', 'notify', 'clip'];

test('names and consumer groups are unique, and names are those of folders, processes and functions', () => {
  const names = STAGES.map(({ name }) => name);
  expect(new Set(FAILED_FOLDERS).size).toBe(names.length + 1);
  expect(new Set(STAGES.map((stage) => groupOf(stage, config))).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z]+$/);
});

test('each stage has its handler, and a timeout that Lambda allows for Kafka', () => {
  for (const { handler, lambda } of STAGES) {
    expect(existsSync(join(ROOT, handler)), handler).toBe(true);
    expect(lambda.timeoutSeconds).toBeLessThanOrEqual(840);
  }
});

test('topics and consumer groups of stages come from their variables', () => {
  const named = readConfig(STAGE_VARIABLES, { KAFKA_EVENTS_TOPIC: 'told', KAFKA_GROUP_ID: 'g' });
  const facts = STAGES.map((stage) => [stage.name, topicOf(stage, named), groupOf(stage, named)] as const);
  expect(facts.filter(([name]) => OF_PRODUCT.includes(name))).toEqual([
    ['detect', 'video-frames', 'g'],
    ['annotate', 'detections', 'g-annotate'],
    ['notify', 'told', 'g-notify'],
    ['clip', 'told', 'g-clip'],
  ]);
});

test('the topics of the pipeline are those of its stages, without duplicates', () => {
  expect(topicsOf({ ...config, KAFKA_EVENTS_TOPIC: 'told' })).toEqual(['video-frames', 'detections', 'told']);
});

describe('a stage runs', () => {
  const wanted = (env: NodeJS.ProcessEnv) =>
    STAGES.filter((stage) => isEnabled(stage, env))
      .map(({ name }) => name)
      .filter((name) => OF_PRODUCT.includes(name));
  test.each([
    [{}, ['detect', 'annotate']],
    [{ WEBHOOK_URL: 'https://example.com/' }, ['detect', 'annotate', 'notify']],
    [{ MQTT_URL: 'mqtt://broker' }, ['detect', 'annotate', 'notify']],
    [{ EVENT_BUS_NAME: 'bus', EVENT_CLIPS: 'on' }, ['detect', 'annotate', 'notify', 'clip']],
    [{ EVENT_CLIPS: 'off', WEBHOOK_URL: '' }, ['detect', 'annotate']],
    [{ PICTURES: 'once', WEBHOOK_URL: 'https://example.com/' }, ['detect', 'notify']],
  ])('if %j is set', (env, names) => {
    expect(wanted(env)).toEqual(names);
  });
});

test('with PICTURES=once detect includes annotate, and its variables', () => {
  expect(stagesOf({ PICTURES: 'twice' })).toEqual(STAGES);
  const outside = STAGES.filter(({ name }) => name !== 'detect' && name !== 'annotate');
  const [detect, ...others] = stagesOf({ PICTURES: 'once' });
  const [apart, annotate] = STAGES;
  expect(others).toEqual(outside);
  expect(detect).toMatchObject({ name: 'detect', handler: apart?.handler, groupSuffix: '' });
  for (const one of [apart, annotate]) {
    for (const what of ['environment', 'getsObjects', 'putsObjects', 'needs', 'receivers'] as const)
      expect(detect?.lambda[what] ?? []).toEqual(expect.arrayContaining([...(one?.lambda[what] ?? [])]));
    for (const what of ['install', 'installForVideo'] as const)
      expect(detect?.lambda[what]).toMatchObject(one?.lambda[what] ?? {});
    expect(detect?.lambda.memoryMb).toBeGreaterThanOrEqual(one?.lambda.memoryMb ?? 0);
  }
  // Which it reads where an entry lies under the same key.
  expect(detect?.lambda.putsObjects).toContain('failed/annotate');
  expect(detect?.lambda.getsObjects).toContain('failed/annotate');
});
