import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callsOf, withRealIds } from '../infra/calls.ts';
import { graphOf } from '../infra/graphs.ts';
import { type AnyCall, forBoto, startMoto } from './moto.ts';
import { hasPython } from './python.ts';

/** What moto keeps as AWS does, as far as a stage needs it. */
const SERVICES = [
  'cloudwatch',
  'ecr',
  'ecs',
  'events',
  'glue',
  'iam',
  'logs',
  's3',
  'secretsmanager',
  'sns',
  'ssm',
];

describe.skipIf(!(await hasPython()))("moto, which takes AWS's calls and remembers them", () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let graph: Awaited<ReturnType<typeof graphOf>>;
  let calls: AnyCall[];
  let answers: any[];
  beforeAll(async () => {
    [moto, graph] = await Promise.all([startMoto(), graphOf('production')]);
    const known = withRealIds(graph)
      .flatMap(callsOf)
      .filter(([api]) => SERVICES.includes(api));
    calls = await Promise.all(known.map(forBoto));
    answers = await moto.call(calls);
  }, 1_800_000);
  afterAll(() => moto?.stop());

  test('takes every call that makes a stage, one after another', () => {
    expect(answers.filter((answer) => typeof answer === 'string')).toEqual([]);
    expect(new Set(calls.map(([api]) => api))).toEqual(new Set(SERVICES));
  });
});
