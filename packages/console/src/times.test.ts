import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const TIMES = JSON.stringify(join(import.meta.dirname, '../page/times.ts'));

/** Runs the lines in a process of its own, where the time zone can be set. @returns what they put into `out` */
function run(lines: string) {
  const script = `import assert from 'node:assert/strict';
    import { dayOf, exactTime, localTime, timeOfField } from ${TIMES};
    const out = {};
    ${lines}
    console.log(JSON.stringify(out));`;
  const node = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(node.stderr).not.toMatch('AssertionError');
  return JSON.parse(node.stdout);
}

test('days and times in forms are exact at clock changes, in each time zone', () => {
  const whole = [23, 24, 25];
  const zones = {
    UTC: [24],
    'Asia/Kolkata': [24],
    'Europe/Berlin': whole,
    'Australia/Lord_Howe': [23.5, 24, 24.5],
    // A day there has no midnight, or two.
    'Africa/Cairo': whole,
    'America/Havana': whole,
    'Asia/Beirut': whole,
  };
  const found = run(`
    const date = (of) => new Date(of).toDateString();
    for (const zone of ${JSON.stringify(Object.keys(zones))}) {
      process.env.TZ = zone;
      const hours = new Set();
      for (let time = Date.UTC(2026, 2, 5) + 123; time < Date.UTC(2026, 10, 5); time += 1_800_000) {
        // Clocks change before and after.
        if (new Date(time).getMonth() === 4) time = Date.UTC(2026, 9, 1) + 123;
        assert.equal(timeOfField(localTime(time), exactTime(time)), exactTime(time), zone);
        assert.equal(localTime(Date.parse(timeOfField(localTime(time)))), localTime(time), zone);
        const { from, to } = dayOf(time);
        assert.ok(from <= time && time < to, zone);
        assert.deepEqual([from, to - 1].map(date), [date(time), date(time)], zone);
        assert.ok([from - 1, to].every((of) => date(of) !== date(time)), zone);
        hours.add((to - from) / 3_600_000);
      }
      out[zone] = [...hours].sort((a, b) => a - b);
    }`);
  expect(found).toEqual(zones);
});

test('a form field with an invalid time is ignored, and a changed field is used', () => {
  const { times } = run(`process.env.TZ = 'Europe/Berlin';
    const exact = '2026-10-25T01:30:00.000Z';
    out.times = ['', 'x', '2026-10-25T02:30', '2026-10-25T02:31'].map((text) => timeOfField(text, exact));`);
  expect(times).toEqual(['', '', '2026-10-25T01:30:00.000Z', '2026-10-25T00:31:00.000Z']);
});
