import sharp from 'sharp';
import { expect, test } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { samePicture } from './pixels.ts';

const picture = (background: string) =>
  sharp({ create: { width: 64, height: 64, channels: 3, background } })
    .jpeg()
    .toBuffer();

test('samePicture accepts the same picture encoded again, and rejects any other', async () => {
  const teal = await picture('teal');
  expect(await samePicture(teal, await sharp(teal).jpeg({ quality: 60 }).toBuffer(), [])).toBe(true);
  expect(await samePicture(teal, await picture('tomato'), [])).toBe(false);
});

test('samePicture rejects a truncated picture, and bytes that are not a picture', async () => {
  const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
  const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'teal', noise } })
    .jpeg()
    .toBuffer();
  for (const length of [whole.length / 2, 200, 0])
    expect(await samePicture(whole, whole.subarray(0, length), [])).toBe(false);
});

test('samePicture rejects a picture that is too costly to decode, without decoding it', async () => {
  const bomb = await manyScans(3_000);
  const began = process.cpuUsage();
  expect(await samePicture(await picture('teal'), bomb, [])).toBe(false);
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1_000).toBeLessThan(1_000);
});
