import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inZone, type Point, type Polygon, relativeBox, type Zone, zoneProblem } from './zones.ts';

const square: Polygon = [
  [0.2, 0.2],
  [0.8, 0.2],
  [0.8, 0.8],
  [0.2, 0.8],
];
const hole: Polygon = [
  [0.4, 0.4],
  [0.6, 0.4],
  [0.6, 0.6],
  [0.4, 0.6],
];
const zone = (polygon: Polygon, more: Partial<Zone> = {}): Zone => ({
  polygon,
  holes: [],
  membership: 'bottom_centre',
  min_overlap: 0.5,
  ...more,
});
/** A box that stands on the point. */
const standingOn = ([x, y]: Point) => [x, Math.max(0, y - 0.1), x, y] as const;

test.each<[string, Point, boolean]>([
  ['middle of the ring', [0.3, 0.3], true],
  ['outer edge', [0.2, 0.5], true],
  ['outer corner', [0.8, 0.8], true],
  ["hole's edge", [0.5, 0.4], true],
  ["hole's corner", [0.4, 0.4], true],
  ['hole', [0.5, 0.5], false],
  ['just outside', [0.19999, 0.5], false],
  ['level with the upper edge, beside it', [0.9, 0.2], false],
])('a point in the %s', (_, point, inside) => {
  expect(inZone(zone(square, { holes: [hole] }), standingOn(point))).toBe(inside);
});

test('a point on a slanted edge is inside', () => {
  const triangle: Polygon = [
    [0.1, 0.1],
    [0.9, 0.3],
    [0.3, 0.7],
  ];
  const onEdges = fc.tuple(fc.integer({ min: 0, max: 2 }), fc.double({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(onEdges, ([edge, t]) => {
      const [a, b] = [triangle[edge] as Point, triangle[(edge + 1) % 3] as Point];
      return inZone(zone(triangle), standingOn([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]));
    }),
  );
});

test.each<[string, Polygon, Polygon[], RegExp]>([
  ['two points', square.slice(0, 2), [], /has 2 points/],
  [
    'a line',
    [
      [0.1, 0.1],
      [0.5, 0.5],
      [0.9, 0.9],
    ],
    [],
    /no area/,
  ],
  ['a point twice', [...square, [0.2, 0.2]], [], /repeats point 1 as point 5/],
  [
    'a point outside',
    [
      [0, 0],
      [1.1, 0],
      [0, 1],
    ],
    [],
    /point 2 \(1\.1, 0\) outside 0\.\.1/,
  ],
  [
    'no number',
    [
      [0, 0],
      [Number.NaN, 0],
      [0, 1],
    ],
    [],
    /outside/,
  ],
  [
    'a bow tie',
    [
      [0, 0],
      [1, 1],
      [1, 0],
      [0, 1],
    ],
    [],
    /edge 1 meets edge 3/,
  ],
  [
    'a corner that touches an edge',
    [
      [0, 0],
      [1, 0],
      [1, 1],
      [0.5, 0],
      [0, 1],
    ],
    [],
    /crosses itself/,
  ],
  [
    'a spike',
    [
      [0, 0],
      [1, 0],
      [0.5, 0],
      [0.5, 1],
    ],
    [],
    /crosses itself/,
  ],
  [
    'a spike at the end',
    [
      [0.5, 0],
      [0.5, 1],
      [0, 0],
      [1, 0],
    ],
    [],
    /crosses itself/,
  ],
  [
    'a hole outside',
    square,
    [
      [
        [0, 0],
        [0.1, 0],
        [0, 0.1],
      ],
    ],
    /hole 1 that leaves/,
  ],
  [
    'a hole across the border',
    square,
    [
      [
        [0.1, 0.4],
        [0.5, 0.4],
        [0.5, 0.6],
      ],
    ],
    /hole 1 that leaves/,
  ],
  [
    'a crooked hole',
    square,
    [
      [
        [0.3, 0.3],
        [0.4, 0.4],
      ],
    ],
    /hole 1 that has 2 points/,
  ],
  ['two holes in one place', square, [hole, hole], /hole 2 that overlaps hole 1/],
  [
    'a hole in a hole',
    square,
    [
      hole,
      [
        [0.45, 0.45],
        [0.55, 0.45],
        [0.5, 0.55],
      ],
    ],
    /overlaps hole 1/,
  ],
])('%s is rejected', (_, polygon, holes, problem) => {
  expect(zoneProblem(polygon, holes)).toMatch(problem);
});

test('valid polygons are accepted: concave, in both directions, with holes that share a border', () => {
  const half: Polygon[] = [
    [
      [0.3, 0.3],
      [0.5, 0.3],
      [0.5, 0.7],
      [0.3, 0.7],
    ],
    [
      [0.5, 0.3],
      [0.7, 0.3],
      [0.7, 0.7],
      [0.5, 0.7],
    ],
  ];
  expect(zoneProblem(square, half)).toBeUndefined();
  expect(zoneProblem(square.toReversed(), [hole])).toBeUndefined();
  expect(
    zoneProblem([
      [0, 0],
      [1, 0],
      [1, 1],
      [0.5, 0.5],
      [0, 1],
    ]),
  ).toBeUndefined();
});

const star = fc
  .array(fc.double({ min: 0.1, max: 0.5, noNaN: true }), { minLength: 3, maxLength: 12 })
  .map((radii) =>
    radii.map((radius, index): Point => {
      const angle = (2 * Math.PI * index) / radii.length;
      return [0.5 + radius * Math.cos(angle), 0.5 + radius * Math.sin(angle)];
    }),
  );
const box = fc
  .tuple(...Array.from({ length: 4 }, () => fc.double({ min: 0, max: 1, noNaN: true })))
  .map(
    ([a = 0, b = 0, c = 0, d = 0]) =>
      [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)] as const,
  )
  .filter(([x1, y1, x2, y2]) => x2 - x1 > 0.05 && y2 - y1 > 0.05);

test('star-shaped polygons are valid, and contain their centre', () => {
  fc.assert(
    fc.property(star, (polygon) => {
      expect(zoneProblem(polygon)).toBeUndefined();
      expect(inZone(zone(polygon), standingOn([0.5, 0.5]))).toBe(true);
    }),
  );
});

test('the first corner and the direction of a polygon do not matter', () => {
  fc.assert(
    fc.property(star, box, fc.nat(11), (polygon, one, turn) => {
      const turned = [...polygon.slice(turn % polygon.length), ...polygon.slice(0, turn % polygon.length)];
      for (const membership of ['bottom_centre', 'overlap'] as const) {
        const expected = inZone(zone(polygon, { membership }), one);
        expect(inZone(zone(turned, { membership }), one)).toBe(expected);
        expect(inZone(zone(turned.toReversed(), { membership }), one)).toBe(expected);
      }
    }),
  );
});

test('the overlap of a box and a zone equals that counted on a grid, with and without a hole', () => {
  const small: Polygon = [
    [0.47, 0.47],
    [0.53, 0.47],
    [0.5, 0.54],
  ];
  fc.assert(
    fc.property(star, box, fc.boolean(), (polygon, one, withHole) => {
      const holes = withHole ? [small] : [];
      fc.pre(zoneProblem(polygon, holes) === undefined);
      const share = gridShare(zone(polygon, { holes }), one);
      const over = (min_overlap: number) =>
        inZone(zone(polygon, { holes, membership: 'overlap', min_overlap }), one);
      if (share > 0.06) expect(over(share - 0.05)).toBe(true);
      if (share < 0.94) expect(over(share + 0.05)).toBe(false);
    }),
  );
});

function gridShare(one: Zone, [x1, y1, x2, y2]: readonly [number, number, number, number]): number {
  // Edges along a row of points are counted wrong by half a row each: fine enough that four of them stay within 0.05.
  const steps = 80;
  let inside = 0;
  for (let i = 0; i < steps ** 2; i++) {
    const x = x1 + ((x2 - x1) * ((i % steps) + 0.5)) / steps;
    const y = y1 + ((y2 - y1) * (Math.floor(i / steps) + 0.5)) / steps;
    if (inZone(one, standingOn([x, y]))) inside++;
  }
  return inside / steps ** 2;
}

test('a change of resolution does not matter, and a box is clipped to its frame', () => {
  fc.assert(
    fc.property(star, box, fc.integer({ min: 16, max: 8000 }), (polygon, [x1, y1, x2, y2], size) => {
      const at = (width: number, height: number) =>
        inZone(
          zone(polygon),
          relativeBox([x1 * width, y1 * height, x2 * width, y2 * height], { width, height }),
        );
      expect(at(1024, 512)).toBe(at(2048, 1024));
      expect(relativeBox([-5, -5, size + 5, size + 5], { width: size, height: size })).toEqual([0, 0, 1, 1]);
    }),
  );
});
