import { expect, test } from 'vitest';
import { activeHours, HOURS_PATTERN, isTimeZone } from './active-hours.ts';

test.each([
  ['08:00-18:00', 'UTC', '07:59:59', false],
  ['08:00-18:00', 'UTC', '08:00:00', true],
  ['08:00-18:00', 'UTC', '17:59:59', true],
  ['08:00-18:00', 'UTC', '18:00:00', false],
  ['22:00-06:00', 'UTC', '23:00:00', true],
  ['22:00-06:00', 'UTC', '05:59:00', true],
  ['22:00-06:00', 'UTC', '06:00:00', false],
  ['00:00-24:00', 'UTC', '00:00:00', true],
  ['00:00-24:00', 'UTC', '23:59:59', true],
  // Paris is two hours ahead of UTC in summer.
  ['08:00-18:00', 'Europe/Paris', '06:00:00', true],
  ['08:00-18:00', 'Europe/Paris', '16:00:00', false],
])('active hours %s in %s, at %s UTC: %s', (span, timeZone, time, active) => {
  expect(activeHours({ span, timeZone })(Date.parse(`2026-07-01T${time}Z`))).toBe(active);
});

test('active_hours and time_zone reject invalid values, each with its own error', () => {
  expect(
    ['8:00-18:00', '08:00', '25:00-26:00', '08:60-09:00', '24:00-08:00'].filter((one) =>
      HOURS_PATTERN.test(one),
    ),
  ).toEqual([]);
  expect(['UTC', 'Europe/Paris', 'Europe/Nowhere'].map(isTimeZone)).toEqual([true, true, false]);
});
