import { expect, test } from 'vitest';
import { addCrowds, CROWD_MARK } from './answers.ts';

test('addCrowds adds a crowd to the result of the marked picture in a response of /predict', () => {
  const frames = [Buffer.from('a'), CROWD_MARK].map((jpeg) => ({ frame_data: jpeg.toString('base64') }));
  const results = [1, 2].map((frame_number) => ({ frame_number, detections: [] }));
  const changed = addCrowds({
    method: 'POST',
    path: '/predict',
    headers: {},
    body: Buffer.from(JSON.stringify({ frames })),
    answer: { status: 200, headers: {}, body: Buffer.from(JSON.stringify({ model: 'm', results })) },
  });
  const answer = JSON.parse(String(changed));
  expect(answer.results.map((one: (typeof results)[0]) => one.detections.length)).toEqual([0, 10_000]);
});
