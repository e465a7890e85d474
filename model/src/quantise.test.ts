import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { compare, installPython } from './quantise.ts';

afterEach(() => vi.unstubAllEnvs());

/** `python3 -m venv [--clear] FOLDER`. What it makes installs for a while, and fails where its folder goes meanwhile. */
const PYTHON = `#!/bin/sh
for folder; do :; done
rm -rf "$folder"
mkdir -p "$folder/bin"
cat > "$folder/bin/python" <<'END'
#!/bin/sh
folder=$(dirname "$0")
touch "$folder/begun"
sleep 0.5
[ -e "$folder/begun" ] || { echo "$folder is gone" >&2; exit 1; }
END
chmod +x "$folder/bin/python"
`;

test('two processes that need Python install it without disturbing each other', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quantise-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'python3'), PYTHON);
  await chmod(join(folder, 'python3'), 0o755);
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(folder, 'cache'));
  const notes: string[] = [];
  const install = () => installPython((line) => void notes.push(line));
  const [one, other] = await Promise.all([install(), sleep(250).then(install)]);
  expect(existsSync(one)).toBe(true);
  expect([other, await install()]).toEqual([one, one]);
  expect(notes).toHaveLength(2);
});

test('without Python the error names what is needed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quantise-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  vi.stubEnv('PATH', folder);
  vi.stubEnv('VIDEO_PIPELINE_CACHE', join(folder, 'cache'));
  await expect(installPython(() => {})).rejects.toThrow(
    'quantising needs Python 3.11 or newer with venv, and PyPI: spawn python3 ENOENT',
  );
});

const object = (class_id: number, confidence: number, x: number) => ({
  ...{ class_id, class_name: `c${class_id}`, confidence },
  bbox: [x, 0, x + 100, 50] as [number, number, number, number],
});
const picture = (...detections: ReturnType<typeof object>[]) => ({ width: 640, height: 360, detections });

test('compare() counts objects that are the same, moved, changed, new or lost', () => {
  const before = [picture(object(0, 0.9, 0), object(1, 0.8, 300)), picture(object(0, 0.7, 10))];
  const after = [
    picture(object(0, 0.84, 4), object(2, 0.8, 300)),
    picture(object(0, 0.7, 10), object(0, 0.6, 400)),
  ];
  const cost = compare(before, after);
  expect(cost).toMatchObject({ before: 3, after: 4, both: 2, boxes: { max: 4 } });
  expect(cost.scores.max).toBeCloseTo(0.06, 6);
});

test('compare() counts no objects for a picture that could not be decoded', () => {
  expect(compare([{ error: 'no picture' }], [{ error: 'no picture' }])).toMatchObject({
    before: 0,
    after: 0,
  });
});
