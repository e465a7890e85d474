import { describe, expect, test } from 'vitest';
import { callsOf, withRealIds } from './calls.ts';
import { DEPLOYED, graphOf } from './graphs.ts';
import { problemsOf } from './models.ts';

/** Long: botocore's wheel may have to be fetched. */
const LIMIT = 240_000;

describe.each([...DEPLOYED, 'thrifty'] as const)(
  'AWS API calls that create the resources of %s',
  (deployed) => {
    test(
      "match AWS's service models: fields, enumerations, patterns, lengths and counts",
      async () => {
        const problems: string[] = [];
        let calls = 0;
        for (const resource of withRealIds(await graphOf(deployed))) {
          for (const [api, operation, parameters] of callsOf(resource)) {
            calls += 1;
            const found = await problemsOf(api, operation, parameters);
            problems.push(...found.map((problem) => `${resource.name}: ${problem}`));
          }
        }
        expect(problems).toEqual([]);
        expect(calls).toBeGreaterThan(80);
      },
      LIMIT,
    );
  },
);

describe("the check against AWS's service models reports a call", () => {
  const poller = { functionName: 'f', eventSourceArn: 'arn:aws:kafka:us-east-1:123456789012:cluster/a/b' };
  test.each([
    ['an unknown field', { ...poller, batchSizes: 25 }, /no field batchSizes/],
    ['a missing field', { eventSourceArn: poller.eventSourceArn }, /FunctionName is missing/],
    ['a value outside the enumeration', { ...poller, startingPosition: 'FIRST' }, /"FIRST" is none of/],
    [
      'a value that does not match the pattern',
      { ...poller, eventSourceArn: 'cluster' },
      /"cluster" does not match/,
    ],
    ['too large a number', { ...poller, maximumRetryAttempts: 10_001 }, /10001 {2}are more than 10000/],
    ['too many items', { ...poller, topics: ['events', 'frames'] }, /2 items are more than 1/],
    ['a value of another type', { ...poller, batchSize: 'many' }, /"many" is no number/],
  ])(
    'with %s',
    async (_, parameters, problem) => {
      expect(await problemsOf('lambda', 'CreateEventSourceMapping', parameters)).toEqual([
        expect.stringMatching(problem),
      ]);
    },
    LIMIT,
  );
});
