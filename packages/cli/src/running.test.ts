import { expect, test } from 'vitest';
import { answerOf } from './running.ts';

test('the reason why a server does not answer is reported, also if its error has only a code', async () => {
  const refused = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' });
  const asked = answerOf('S3 at localhost:1', Promise.reject(refused));
  await expect(asked).rejects.toThrow('S3 at localhost:1 does not answer: ECONNREFUSED');
});
