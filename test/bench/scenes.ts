import type { Detection } from '@video-pipeline/frame';
import { gaussian, randomOf } from '../support/random.ts';

/** A synthetic scene whose truth is known, and what a fallible detector made of it. Boxes in px. */
export interface SyntheticScene {
  name: string;
  fps: number;
  width: number;
  height: number;
  /** Hides what is behind it, px. */
  occluder?: Detection['bbox'] | undefined;
  frames: SyntheticFrame[];
}

export interface Person {
  id: number;
  box: Detection['bbox'];
}

export interface SyntheticFrame {
  /** Whoever can be seen. */
  truth: Person[];
  /** Everybody, the farthest first. */
  present: Person[];
  detections: Detection[];
}

interface Walker {
  id: number;
  /** Centre x and y of the feet, px. */
  x: number;
  y: number;
  /** px a second */
  vx: number;
  vy: number;
  height: number;
}

/** How walkers start and how the detector errs. */
interface Script {
  name: string;
  fps: number;
  seconds: number;
  walkers: (random: () => number) => Walker[];
  /** Opaque rectangle in front of everybody, px. */
  occluder?: Detection['bbox'];
  /** Share of the visible objects that the detector misses, 0..1. */
  missed: number;
  /** False boxes a frame, on average. */
  falseBoxes: number;
}

const WIDTH = 1280;
const HEIGHT = 720;
/** Truth that is less visible than this is not asked for, nor seen by the detector. */
const LEAST_VISIBLE = 0.25;

/** Crossings, a wall to walk behind, a wide one, a careless detector, and a crowd of 50; each at two frame rates. `only` names one of them. */
export function scenes(seed: number, only?: string): SyntheticScene[] {
  const scripts: Omit<Script, 'fps'>[] = [
    { name: 'crossing', seconds: 30, walkers: crossing(10), missed: 0.03, falseBoxes: 0.1 },
    {
      name: 'occlusion',
      seconds: 30,
      walkers: crossing(8),
      occluder: [600, 0, 680, HEIGHT],
      missed: 0.03,
      falseBoxes: 0.1,
    },
    {
      name: 'hall',
      seconds: 60,
      walkers: crossing(6),
      occluder: [480, 0, 800, HEIGHT],
      missed: 0.03,
      falseBoxes: 0.1,
    },
    { name: 'noisy', seconds: 30, walkers: crossing(8), missed: 0.2, falseBoxes: 1.5 },
    { name: 'crowd', seconds: 20, walkers: crossing(50), missed: 0.08, falseBoxes: 0.5 },
  ];
  return scripts
    .flatMap((script, index) =>
      [10, 25].map((fps) => ({ script: { ...script, fps, name: `${script.name}-${fps}` }, index })),
    )
    .filter(({ script }) => only === undefined || script.name === only)
    .map(({ script, index }) => play(script, seed * 100 + index));
}

function crossing(count: number): Script['walkers'] {
  return (random) =>
    Array.from({ length: count }, (_, id) => {
      const height = 70 + 110 * random();
      const speed = (0.35 + 0.45 * random()) * height;
      const right = id % 2 === 0;
      return {
        id: id + 1,
        x: WIDTH * random(),
        y: 150 + 550 * random(),
        vx: right ? speed : -speed,
        vy: 0.15 * speed * gaussian(random),
        height,
      };
    });
}

function play(script: Script, seed: number): SyntheticScene {
  const { next: random } = randomOf(seed);
  const walkers = script.walkers(random);
  const frames = Array.from({ length: Math.round(script.seconds * script.fps) }, () => {
    for (const walker of walkers) walk(walker, 1 / script.fps, random);
    return seen(walkers, script, random);
  });
  return {
    name: script.name,
    fps: script.fps,
    width: WIDTH,
    height: HEIGHT,
    occluder: script.occluder,
    frames,
  };
}

/** Walks on, a little unsteadily, and turns at the border of the picture. */
function walk(walker: Walker, dt: number, random: () => number): void {
  walker.vx += 0.1 * walker.height * Math.sqrt(dt) * gaussian(random);
  walker.vy += 0.05 * walker.height * Math.sqrt(dt) * gaussian(random);
  walker.x += walker.vx * dt;
  walker.y += walker.vy * dt;
  if (walker.x < 30) walker.vx = Math.abs(walker.vx);
  if (walker.x > WIDTH - 30) walker.vx = -Math.abs(walker.vx);
  if (walker.y < walker.height) walker.vy = Math.abs(walker.vy);
  if (walker.y > HEIGHT) walker.vy = -Math.abs(walker.vy);
}

function seen(walkers: Walker[], script: Script, random: () => number): SyntheticScene['frames'][number] {
  const visible = walkers
    .map((walker) => ({ walker, box: boxOf(walker), share: visibility(walker, walkers, script.occluder) }))
    .filter(({ share }) => share >= LEAST_VISIBLE);
  const detections = visible.flatMap(({ box, share }) =>
    random() < script.missed ? [] : [detect(box, share, random)],
  );
  let expected = script.falseBoxes;
  for (; expected > 0; expected--) if (random() < expected) detections.push(falseBox(random));
  return {
    present: walkers.toSorted((a, b) => a.y - b.y).map((walker) => ({ id: walker.id, box: boxOf(walker) })),
    truth: visible.map(({ walker, box }) => ({ id: walker.id, box })),
    detections,
  };
}

function boxOf({ x, y, height }: Walker): Detection['bbox'] {
  return [x - 0.2 * height, y - height, x + 0.2 * height, y];
}

/** Share of a walker that neither the occluder nor those who stand nearer (lower in the picture) hide. */
function visibility(walker: Walker, walkers: Walker[], occluder: Script['occluder']): number {
  const nearer = walkers.filter((other) => other.y > walker.y).map(boxOf);
  const hiding = occluder ? [...nearer, occluder] : nearer;
  const [x1, y1, x2, y2] = boxOf(walker);
  let shown = 0;
  const steps = 8;
  for (let i = 0; i < steps * steps; i++) {
    const x = x1 + ((x2 - x1) * ((i % steps) + 0.5)) / steps;
    const y = y1 + ((y2 - y1) * (Math.floor(i / steps) + 0.5)) / steps;
    if (!hiding.some((box) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3])) shown++;
  }
  return shown / steps ** 2;
}

/** The less is visible, the less sure is the detector, and the less exact. */
function detect(box: Detection['bbox'], share: number, random: () => number): Detection {
  const confidence = Math.min(0.97, Math.max(0.05, 0.2 + 0.65 * share + 0.08 * gaussian(random)));
  const error = (0.02 + 0.03 * (1 - share)) * (box[3] - box[1]);
  const [x1, y1, x2, y2] = box.map((side) => side + error * gaussian(random)) as Detection['bbox'];
  return person(confidence, [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)]);
}

function falseBox(random: () => number): Detection {
  const height = 60 + 120 * random();
  const x = WIDTH * random();
  const y = HEIGHT * random();
  return person(Math.min(0.9, 0.15 + 0.5 * random()), [x, y, x + 0.4 * height, y + height]);
}

function person(confidence: number, bbox: Detection['bbox']): Detection {
  return { class_id: 0, class_name: 'person', confidence, bbox };
}
