import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ownRack } from './rack.ts';

/** Answers as ECS does to a task in the zone us-east-1b. */
const ecs = createServer((request, response) => {
  response.statusCode = request.url === '/v4/1/task' ? 200 : 404;
  response.end(JSON.stringify({ AvailabilityZone: 'us-east-1b' }));
});
let metadata: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => ecs.listen(0, '127.0.0.1', resolve));
  metadata = `http://127.0.0.1:${(ecs.address() as { port: number }).port}/v4/1`;
});
afterAll(() => ecs.close());

test.each([
  ['KAFKA_RACK with one rack is used unchanged', 'use1-az4', 'use1-az4'],
  ['without KAFKA_RACK there is no rack', undefined, undefined],
  [
    'KAFKA_RACK with a list gives the rack of the own zone',
    'us-east-1a=use1-az4,us-east-1b=use1-az6',
    'use1-az6',
  ],
])('%s', async (_, setting, rack) => {
  const warn = vi.fn();
  expect(await ownRack(setting, { warn, error: warn }, metadata)).toBe(rack);
  expect(warn).not.toHaveBeenCalled();
});

test('a zone that is not in the list or not available is logged, and frames are sent all the same', async () => {
  const warn = vi.fn();
  const log = { warn, error: warn };
  expect(await ownRack('us-east-1a=use1-az4', log, metadata)).toBeUndefined();
  expect(await ownRack('us-east-1b=use1-az6', log, 'http://127.0.0.1:1')).toBeUndefined();
  expect(await ownRack('us-east-1b=use1-az6', log, undefined)).toBeUndefined();
  expect(warn).toHaveBeenCalledTimes(3);
});
