import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { inZone, type Point, type RelativeBox, zoneProblem } from '@video-pipeline/scene';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { peerPython } from './bench/peers/python.ts';

const SHAPELY = { name: 'shapely', packages: ['shapely==2.1.2', 'numpy==2.3.5'] };
const python = await peerPython(SHAPELY).catch(() => undefined);

interface Case {
  polygon: Point[];
  holes: Point[][];
  box: RelativeBox;
}
type Verdict = { sound: false } | { sound: true; by_point: boolean; share: number };

/** Sixteenths have no rounding, and are so few that points lie on borders, and corners on each other, again and again. */
const sixteenth = fc.integer({ min: 0, max: 16 }).map((n) => n / 16);
const corner: fc.Arbitrary<Point> = fc.tuple(sixteenth, sixteenth);
const ring = (maxLength: number) => fc.array(corner, { minLength: 3, maxLength });
/** Corners in the order of their angle: most such polygons are sound, also concave ones with many corners. */
const round = (maxLength: number) =>
  fc
    .tuple(corner, ring(maxLength))
    .map(([[x, y], points]) =>
      points.toSorted((a, b) => Math.atan2(a[1] - y, a[0] - x) - Math.atan2(b[1] - y, b[0] - x)),
    );
const rectangle = fc
  .tuple(
    fc.uniqueArray(sixteenth, { minLength: 2, maxLength: 2 }),
    fc.uniqueArray(sixteenth, { minLength: 2, maxLength: 2 }),
  )
  .map(([xs, ys]): RelativeBox => {
    const [x1 = 0, x2 = 0] = xs.toSorted((a, b) => a - b);
    const [y1 = 0, y2 = 0] = ys.toSorted((a, b) => a - b);
    return [x1, y1, x2, y2];
  });
const whole: Point[] = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
];
const cases: fc.Arbitrary<Case> = fc.oneof(
  fc.record({ polygon: fc.oneof(ring(6), round(12)), holes: fc.constant<Point[][]>([]), box: rectangle }),
  fc.record({ polygon: round(12), holes: fc.array(ring(3), { minLength: 1, maxLength: 2 }), box: rectangle }),
  fc.record({
    polygon: fc.constant(whole),
    holes: fc.array(round(5), { minLength: 1, maxLength: 2 }),
    box: rectangle,
  }),
);

test.skipIf(!python)(
  'validity, contained points and overlaps of zones equal those of shapely (needs python3 and PyPI)',
  () => {
    const seed = Number(process.env.SEED ?? 27);
    const asked = fc.sample(cases, { seed, numRuns: 6_000 });
    const answer = execFileSync(python ?? '', [join(import.meta.dirname, 'support/zones.py')], {
      input: JSON.stringify(asked),
      maxBuffer: 1e8,
    });
    const verdicts: Verdict[] = JSON.parse(answer.toString());
    let [sound, withHoles] = [0, 0];
    for (const [index, { polygon, holes, box }] of asked.entries()) {
      const verdict = verdicts[index] as Verdict;
      const told = JSON.stringify({ polygon, holes, box });
      expect(zoneProblem(polygon, holes) === undefined, told).toBe(verdict.sound);
      if (!verdict.sound) continue;
      sound++;
      if (holes.length > 0) withHoles++;
      const zone = { polygon, holes, min_overlap: 0.5 };
      expect(inZone({ ...zone, membership: 'bottom_centre' }, box), told).toBe(verdict.by_point);
      for (const min_overlap of [0.25, 0.5, 1, Math.max(1e-3, verdict.share)]) {
        const covers = verdict.share >= min_overlap - 1e-9;
        expect(inZone({ ...zone, membership: 'overlap', min_overlap }, box), told).toBe(covers);
      }
    }
    expect(sound).toBeGreaterThan(2_000);
    expect(withHoles).toBeGreaterThan(1_000);
  },
);
