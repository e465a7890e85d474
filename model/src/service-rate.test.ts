import { expect, test } from 'vitest';
import { ServiceRate } from './service-rate.ts';

test('perSecond counts only time with work', () => {
  const rate = new ServiceRate();
  expect(rate.perSecond).toBe(Number.POSITIVE_INFINITY);
  let now = 0;
  for (let burst = 0; burst < 20; burst++) {
    rate.begin(now);
    for (let item = 1; item <= 10; item++) {
      now += 50;
      rate.done(1, item === 10, now);
    }
    // An hour without work says nothing of how fast it is done.
    now += 3_600_000;
  }
  expect(rate.perSecond).toBeCloseTo(20, 3);
});

test('perSecond follows a change within seconds', () => {
  const rate = new ServiceRate();
  let now = 0;
  rate.begin(now);
  for (let item = 0; item < 1000; item++) rate.done(1, false, 10 * item);
  now = 10_000;
  for (let item = 1; item <= 20; item++) rate.done(1, false, now + 1_000 * item);
  expect(rate.perSecond).toBeLessThan(3);
});
