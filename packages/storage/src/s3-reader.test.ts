import type { S3Client } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { NotOursError } from './not-ours-error.ts';
import { objectsOf } from './reader.ts';
import { createReader } from './s3-reader.ts';
import { packSegment } from './segment.ts';

const SETTINGS = { S3_BUCKET: 'bucket', AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: undefined };

/** The reader of an S3 API that gives these answers, and what it was asked. */
function readerOf(answers: object[]) {
  const asked: object[] = [];
  const send = async ({ input }: { input: object }) => {
    asked.push(input);
    const answer = answers[asked.length - 1];
    if (!answer) throw new Error('asked too often');
    return answer;
  };
  return { reader: createReader(SETTINGS, { send } as unknown as S3Client), asked };
}

test('a listing continues after a page without objects', async () => {
  const { reader, asked } = readerOf([
    { IsTruncated: true, Contents: [{ Key: 'a' }] },
    { IsTruncated: true, NextContinuationToken: 'more' },
    { IsTruncated: false, Contents: [{ Key: 'b' }] },
  ]);
  const objects = await Array.fromAsync(objectsOf(reader, ''));
  expect(objects.map(({ key }) => key)).toEqual(['a', 'b']);
  expect(asked.slice(1)).toMatchObject([
    { StartAfter: 'a', ContinuationToken: undefined },
    { StartAfter: 'a', ContinuationToken: 'more' },
  ]);
});

test('a listing that gets the same page again is an error', async () => {
  const { reader } = readerOf(Array(9).fill({ IsTruncated: true, Contents: [{ Key: 'a' }] }));
  await expect(Array.fromAsync(objectsOf(reader, ''))).rejects.toThrow('lists a again');
});

test('a segment whose video can not be decoded is an error of a foreign object that names it', async () => {
  const mp4 = packSegment(Buffer.alloc(0), { width: 64, height: 48, frames: [[1, 2]] });
  const { reader } = readerOf([{ Body: { transformToByteArray: async () => mp4 } }]);
  const read = reader.read('annotated/x.mp4', { index: 0 });
  await expect(read).rejects.toThrow(NotOursError);
  await expect(read).rejects.toThrow("annotated/x.mp4 can't be decoded: ");
});
