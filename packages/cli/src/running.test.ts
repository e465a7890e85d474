import { expect, test } from 'vitest';
import { answerOf } from './running.ts';

test('the error of a server that does not respond has a reason, also if it is only a code', async () => {
  const refused = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' });
  const asked = answerOf('S3 at localhost:1', Promise.reject(refused));
  await expect(asked).rejects.toThrow('S3 at localhost:1 does not answer: ECONNREFUSED');
});
