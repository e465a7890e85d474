import { expect, test } from 'vitest';
import { type Appearance, appearanceOf, type RgbPixels } from './appearance.ts';
import { Scene, sceneConfigSchema } from './index.ts';

const [WIDTH, HEIGHT] = [400, 200];
type Colour = [number, number, number];
interface Person {
  x: number;
  upper: Colour;
  lower: Colour;
}
const RED: Colour = [180, 30, 40];
const BLUE: Colour = [40, 60, 170];
const BLACK: Colour = [25, 25, 25];
const GREEN: Colour = [40, 140, 60];

/** A picture with people of 40 x 100 pixels, and the detections in it. */
function see(people: Person[]) {
  const data = new Uint8Array(WIDTH * HEIGHT * 3).fill(120);
  for (const { x, upper, lower } of people) {
    for (let row = 50; row < 150; row++) {
      for (let column = x; column < x + 40; column++) {
        data.set(row < 100 ? upper : lower, (row * WIDTH + column) * 3);
      }
    }
  }
  const picture: RgbPixels = { width: WIDTH, height: HEIGHT, data };
  const detections = people.map(({ x }) => ({
    class_id: 0,
    class_name: 'person',
    confidence: 0.9,
    bbox: [x, 50, x + 40, 150] as [number, number, number, number],
  }));
  const appearances = new Map(detections.map((one) => [one, appearanceOf(picture, one.bbox)]));
  return { detections, appearances };
}

/** Ids of each second's last frame, at 10 frames a second. The scene's state goes through its text after each frame. */
function idsOf(seconds: Person[][], appearance_seconds: number) {
  const config = sceneConfigSchema.parse({ tracks: { appearance_seconds } });
  let state: string | undefined;
  let number = 0;
  return seconds.map((people) => {
    let ids: (string | undefined)[] = [];
    for (let frame = 0; frame < 10; frame++) {
      const scene = new Scene('door', config, { prefix: 'annotated', state });
      const capturedAt = 1_800_000_000_000 + 100 * number;
      const seen = see(people);
      const size = { width: WIDTH, height: HEIGHT };
      const { detections } = scene.update({ capturedAt, frameNumber: number++, ...size, ...seen });
      ids = detections.map(({ track_id }) => track_id);
      ({ state } = scene);
    }
    return ids;
  });
}

const nobody = Array.from({ length: 6 }, (): Person[] => []);
const red: Person = { x: 40, upper: RED, lower: BLACK };

test('an object that returns elsewhere after six seconds keeps its id by its colours, and a new id without', () => {
  const walk = [[red], ...nobody, [{ ...red, x: 160 }]];
  const known = idsOf(walk, 20);
  expect(known.at(-1)).toEqual(known[0]);
  const unknown = idsOf(walk, 0);
  expect(unknown.at(-1)).not.toEqual(unknown[0]);
});

test.each<[string, Person, number]>([
  ['another person', { x: 60, upper: BLUE, lower: GREEN }, 20],
  ['a person who returns too late', red, 3],
])('%s gets a new id', (_, person, seconds) => {
  const ids = idsOf([[red], ...nobody, [person]], seconds);
  expect(ids.at(-1)?.[0]).toBeDefined();
  expect(ids.at(-1)).not.toEqual(ids[0]);
});

test('an object that resembles two lost ones gets a new id', () => {
  const twins = [red, { ...red, x: 300 }];
  const ids = idsOf([twins, ...nobody, [{ ...red, x: 160 }]], 20);
  expect(ids[0]).not.toContain(ids.at(-1)?.[0]);
});

test('an object that is hidden for a second and seen elsewhere keeps its id', () => {
  const ids = idsOf([[red], [], [{ ...red, x: 170 }]], 20);
  expect(ids.at(-1)).toEqual(ids[0]);
});

test('an appearance has the same length for each box, also outside of the picture', () => {
  const picture: RgbPixels = { width: 4, height: 4, data: new Uint8Array(48).fill(200) };
  const boxes: [number, number, number, number][] = [
    [0, 0, 4, 4],
    [-10, -10, 1, 1],
    [900, 900, 1000, 1000],
    [1, 1, 1, 1],
  ];
  const all: Appearance[] = boxes.map((box) => appearanceOf(picture, box));
  for (const one of all) {
    expect(one).toHaveLength(32);
    for (const bin of one) expect(bin >= 0 && bin <= 255 && Number.isInteger(bin)).toBe(true);
  }
});
