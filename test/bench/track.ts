/** `npm run bench:track -- --help`: our tracker beside those of `supervision` and `trackers`, on the same boxes. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { appearanceOf, ByteTracker, DEFAULT_TRACKER, Scene, sceneConfigSchema } from '@video-pipeline/scene';
import { npmScript, positiveInteger } from './options.ts';
import { peerPython } from './peers/python.ts';
import { renderer, SCALE } from './render.ts';
import { type SyntheticScene, scenes } from './scenes.ts';

/** The trackers and the field's evaluator. */
const PEERS = {
  name: 'track',
  packages: ['supervision==0.27.0', 'trackers==2.6.1', 'motmetrics==1.4.0'],
};
const options = npmScript(
  'bench:track',
  'Our tracker beside those of supervision and trackers, on the same boxes.',
)
  .option('--json', 'print JSON', false)
  .option('--seeds <n>', 'scenes are made of so many seeds, from 1 on', positiveInteger, 2)
  .parse()
  .opts<{ json: boolean; seeds: number }>();
const run = promisify(execFile);

interface Score {
  idf1: number;
  mota: number;
  switches: number;
  /** CPU milliseconds a frame. */
  ms: number | null;
}

/** One line in the form of the MOT Challenge. */
function motLine(frame: number, id: number, [x1, y1, x2, y2]: readonly number[], confidence = 1): string {
  return [frame, id, ...[x1, y1, Number(x2) - Number(x1), Number(y2) - Number(y1)], confidence].join(',');
}

/** The scene with the colours of its detections, from pictures that are drawn of it. */
function coloured(scene: SyntheticScene, seed: number): SyntheticScene {
  const draw = renderer(scene, seed);
  const frames = scene.frames.map((frame) => {
    const picture = draw(frame);
    const look = ([x1, y1, x2, y2]: readonly [number, number, number, number]) =>
      appearanceOf(picture, [x1 * SCALE, y1 * SCALE, x2 * SCALE, y2 * SCALE]);
    const detections = frame.detections.map((one) => ({ ...one, appearance: look(one.bbox) }));
    return { ...frame, detections };
  });
  return { ...scene, frames };
}

/** With colours, who is gone is known again for so long, seconds. */
const APPEARANCE_SECONDS = 20;

/** Tracks a scene. @returns lines in MOT form, and CPU milliseconds a frame */
function track(scene: SyntheticScene, settings = DEFAULT_TRACKER): { lines: string[]; ms: number } {
  const tracker = new ByteTracker(settings);
  const begin = process.cpuUsage();
  const tracked = scene.frames.map(({ detections }, index) =>
    tracker.update({ capturedAt: Math.round((1000 * index) / scene.fps), detections }),
  );
  const { user, system } = process.cpuUsage(begin);
  const numbers = new Map<string, number>();
  const lines = scene.frames.flatMap(({ detections }, frame) =>
    detections.flatMap(({ bbox }, index) => {
      const id = tracked[frame]?.ids[index];
      if (id === undefined) return [];
      if (!numbers.has(id)) numbers.set(id, numbers.size + 1);
      return [motLine(frame + 1, numbers.get(id) ?? 0, bbox)];
    }),
  );
  return { lines, ms: (user + system) / 1000 / scene.frames.length };
}

/** All that detect does with a frame: filters, tracks, zones, rules, and the state as text every 25 frames. */
const WHOLE = sceneConfigSchema.parse({
  filters: { classes: ['person'], confidence: { person: 0.1 }, min_area: 0.0001, exclude: ['top'] },
  zones: {
    top: {
      polygon: [
        [0, 0],
        [1, 0],
        [1, 0.05],
        [0, 0.05],
      ],
    },
    left: {
      polygon: [
        [0, 0],
        [0.4, 0],
        [0.5, 0.5],
        [0.4, 1],
        [0, 1],
      ],
    },
    right: {
      polygon: [
        [0.6, 0],
        [1, 0],
        [1, 1],
        [0.6, 1],
      ],
      membership: 'overlap',
    },
  },
  lines: { middle: { from: [0.5, 1], to: [0.5, 0] } },
  events: [
    { type: 'entered_zone', name: 'in', zone: 'left' },
    { type: 'stayed_longer', name: 'stays', zone: 'right', seconds: 5 },
    { type: 'line_crossed', name: 'over', line: 'middle' },
    { type: 'count_over', name: 'crowd', zone: 'left', count: 20 },
  ],
});

/** @returns CPU milliseconds a frame */
function followScene({ name, fps, width, height, frames }: SyntheticScene): number {
  const scene = new Scene(name, WHOLE, { prefix: 'annotated' });
  const begin = process.cpuUsage();
  for (const [frameNumber, { detections }] of frames.entries()) {
    scene.update({
      capturedAt: Math.round((1000 * frameNumber) / fps),
      frameNumber,
      width,
      height,
      detections,
    });
    if (frameNumber % 25 === 24) void scene.state;
  }
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / 1000 / frames.length;
}

async function writeScene(
  folder: string,
  scene: SyntheticScene,
  ours: { plain: string[]; colours: string[] },
): Promise<void> {
  await mkdir(folder);
  const files = {
    'gt.txt': scene.frames.flatMap(({ truth }, frame) =>
      truth.map(({ id, box }) => motLine(frame + 1, id, box)),
    ),
    'det.txt': scene.frames.flatMap(({ detections }, frame) =>
      detections.map(({ bbox, confidence }) => motLine(frame + 1, -1, bbox, confidence)),
    ),
    'ours.txt': ours.plain,
    'ours-colours.txt': ours.colours,
    'scene.json': [JSON.stringify({ fps: scene.fps, frames: scene.frames.length })],
  };
  for (const [name, lines] of Object.entries(files)) await writeFile(join(folder, name), lines.join('\n'));
}

function report(scores: Record<string, Record<string, Score>>): void {
  console.log(
    '| tracker | IDF1 | MOTA | switches | CPU ms a frame, crowd of 50 |\n| --- | --- | --- | --- | --- |',
  );
  for (const [name, { OVERALL: overall, ...byScene }] of Object.entries(scores)) {
    const crowd = Object.entries(byScene).flatMap(([scene, { ms }]) =>
      scene.includes('crowd') && ms !== null ? [ms] : [],
    );
    const ms = crowd.reduce((sum, one) => sum + one, 0) / crowd.length;
    console.log(
      `| ${name} | ${overall?.idf1.toFixed(4)} | ${overall?.mota.toFixed(4)} | ${overall?.switches} | ${ms.toFixed(3)} |`,
    );
  }
}

const folder = await mkdtemp(join(tmpdir(), 'bench-track-'));
try {
  const cpu = new Map<string, number>();
  const coloursCpu = new Map<string, number>();
  for (let seed = 1; seed <= options.seeds; seed += 1) {
    for (const scene of scenes(seed)) {
      const name = `${scene.name}-${seed}`;
      track(scene); // warm
      const { lines, ms } = track(scene);
      cpu.set(name, ms);
      const settings = { ...DEFAULT_TRACKER, appearance_seconds: APPEARANCE_SECONDS };
      const colours = track(coloured(scene, seed), settings);
      coloursCpu.set(name, colours.ms);
      await writeScene(join(folder, name), scene, { plain: lines, colours: colours.lines });
    }
  }
  await writeFile(join(folder, 'settings.json'), JSON.stringify(DEFAULT_TRACKER));
  const { stdout } = await run(
    await peerPython(PEERS),
    [join(import.meta.dirname, 'peers/track.py'), folder],
    {
      maxBuffer: 1e8,
    },
  );
  const scores: Record<string, Record<string, Score>> = JSON.parse(stdout);
  for (const [name, score] of Object.entries(scores.ours ?? {})) score.ms = cpu.get(name) ?? null;
  for (const [name, score] of Object.entries(scores['ours, colours'] ?? {})) {
    score.ms = coloursCpu.get(name) ?? null;
  }
  if (options.json) console.log(JSON.stringify(scores));
  else report(scores);
  const whole = scenes(1).flatMap((scene) => {
    if (!scene.name.startsWith('crowd')) return [];
    followScene(scene); // warm
    return [followScene(scene)];
  });
  console.error(
    `filters, tracks, zones and events of the crowd: ${Math.max(...whole).toFixed(3)} CPU ms a frame`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
