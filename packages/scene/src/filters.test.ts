import { expect, test } from 'vitest';
import { sceneConfigSchema } from './config.ts';
import { filterDetections, filtersOf } from './filters.ts';

const seen = (class_name: string, confidence: number, bbox: [number, number, number, number]) => ({
  class_id: 0,
  class_name,
  confidence,
  bbox,
});
const frame = { width: 1000, height: 1000 };
const box: [number, number, number, number] = [400, 400, 500, 500];

const config = sceneConfigSchema.parse({
  filters: {
    classes: ['person', 'car'],
    confidence: { person: 0.6 },
    min_area: 0.001,
    max_area: 0.25,
    include: ['yard'],
    exclude: ['tree'],
  },
  zones: {
    yard: {
      polygon: [
        [0, 0.3],
        [1, 0.3],
        [1, 1],
        [0, 1],
      ],
    },
    tree: {
      polygon: [
        [0.8, 0.3],
        [1, 0.3],
        [1, 1],
        [0.8, 1],
      ],
      membership: 'overlap',
    },
  },
});

test('a class without its own confidence uses min_confidence', () => {
  const filters = {
    ...filtersOf(sceneConfigSchema.parse({})),
    confidence: { cat: 0.2 },
    min_confidence: 0.6,
  };
  const detections = [seen('cat', 0.3, box), seen('dog', 0.59, box), seen('dog', 0.6, box)];
  const { kept, removed } = filterDetections(filters, { ...frame, detections });
  expect([kept, removed]).toEqual([[detections[0], detections[2]], { confidence: 1 }]);
});

test('each detection is dropped for the first reason that applies, and counted by reason', () => {
  const good = [seen('person', 0.6, box), seen('car', 0.1, [0, 500, 500, 1000])];
  const detections = [
    seen('dog', 0.9, box),
    good[0] as (typeof good)[0],
    seen('person', 0.59, box),
    seen('car', 0.9, [400, 400, 431, 431]),
    seen('car', 0.9, [0, 300, 600, 900]),
    seen('car', 0.9, [400, 100, 500, 200]),
    seen('car', 0.9, [850, 400, 950, 500]),
    good[1] as (typeof good)[0],
  ];
  expect(filterDetections(filtersOf(config), { ...frame, detections })).toEqual({
    kept: good,
    removed: { class: 1, confidence: 1, area: 2, zone: 2 },
  });
});

test('without filters all detections are kept; allowed classes apply when the stream has none', () => {
  const detections = [seen('constructor', 0, [0, 0, 0, 0]), seen('cat', 1, [0, 0, 1000, 1000])];
  const plain = sceneConfigSchema.parse({});
  expect(filterDetections(filtersOf(plain), { ...frame, detections }).kept).toEqual(detections);
  expect(filterDetections(filtersOf(plain, ['cat']), { ...frame, detections })).toEqual({
    kept: [detections[1]],
    removed: { class: 1 },
  });
  expect(filtersOf(config, ['cat']).classes).toEqual(['person', 'car']);
});

test.each([
  [
    {
      zones: {
        yard: {
          polygon: [
            [0, 0],
            [1, 1],
            [1, 0],
            [0, 1],
          ],
        },
      },
    },
    'zones.yard.polygon',
    /crosses itself/,
  ],
  [
    {
      zones: {
        'a/b': {
          polygon: [
            [0, 0],
            [1, 1],
            [1, 0],
          ],
        },
      },
    },
    'zones.a/b',
    /./,
  ],
  [
    {
      zones: {
        constructor: {
          polygon: [
            [0, 0],
            [1, 1],
            [1, 0],
          ],
        },
      },
    },
    'zones.constructor',
    /./,
  ],
  [{ lines: { gate: { from: [0, 0], to: [0, 0] } } }, 'lines.gate.to', /no length/],
  [{ filters: { include: ['yrad'] } }, 'filters.include.0', /'yrad', which is not under zones/],
  [{ filters: { min_area: 0.5, max_area: 0.1 } }, 'filters.min_area', /over max_area/],
  [{ filters: { minimum: 1 } }, 'filters', /minimum/],
  [{ events: [{ type: 'line_crossed', name: 'a', line: 'gate' }] }, 'events.0.line', /'gate'/],
  [
    {
      events: [
        { type: 'count_over', name: 'a', count: 1 },
        { type: 'count_over', name: 'a', count: 2 },
      ],
    },
    'events.1.name',
    /twice/,
  ],
])('%j is rejected at its field', (wrong, path, message) => {
  const issue = sceneConfigSchema.safeParse(wrong).error?.issues[0];
  expect(issue?.path.join('.')).toBe(path);
  expect(issue?.message).toMatch(message);
});
