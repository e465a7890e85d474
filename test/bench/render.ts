import type { RgbPixels } from '@video-pipeline/scene';
import { randomOf } from '../support/random.ts';
import type { Person, SyntheticFrame, SyntheticScene } from './scenes.ts';

/** Pictures have half the scene's width and height: enough for colours. */
export const SCALE = 0.5;

type Colour = readonly [number, number, number];
/** What people wear. Most of it is dark, grey or blue, so many look alike. */
const CLOTHES: readonly Colour[] = [
  [25, 25, 28],
  [25, 25, 28],
  [40, 40, 46],
  [70, 70, 74],
  [120, 120, 122],
  [200, 200, 200],
  [225, 222, 215],
  [35, 45, 75],
  [35, 45, 75],
  [60, 80, 120],
  [130, 30, 35],
  [60, 90, 55],
  [150, 120, 80],
  [210, 180, 60],
  [90, 60, 110],
];
const SKIN: Colour = [190, 150, 125];
const GROUND: Colour = [110, 115, 105];
const WALL: Colour = [150, 140, 130];

/**
 * Draws the frames of a scene, in their order: people in clothes, the nearer over the farther, with more light to the
 * right, changing exposure, and noise.
 */
export function renderer(scene: SyntheticScene, seed: number): (frame: SyntheticFrame) => RgbPixels {
  const random = randomOf(seed);
  const width = Math.round(scene.width * SCALE);
  const height = Math.round(scene.height * SCALE);
  const data = new Uint8Array(width * height * 3);
  const clothes = new Map<number, [Colour, Colour]>();
  const pick = () => CLOTHES[random.integer(0, CLOTHES.length - 1)] as Colour;

  function paint(box: readonly number[], colour: Colour, exposure: number): void {
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = box.map((side) => Math.round(side * SCALE));
    for (let y = Math.max(0, y1); y < Math.min(height, y2); y++) {
      for (let x = Math.max(0, x1); x < Math.min(width, x2); x++) {
        const light = exposure * (0.75 + (0.45 * x) / width);
        const noise = 24 * (random.next() - 0.5);
        const at = (y * width + x) * 3;
        for (const [channel, value] of colour.entries()) {
          data[at + channel] = Math.max(0, Math.min(255, value * light + noise));
        }
      }
    }
  }
  function paintPerson({ id, box: [x1, y1, x2, y2] }: Person, exposure: number): void {
    if (!clothes.has(id)) clothes.set(id, [pick(), pick()]);
    const [upper, lower] = clothes.get(id) as [Colour, Colour];
    const part = (side: number, top: number, bottom: number) => {
      const [w, h] = [x2 - x1, y2 - y1];
      return [x1 + side * w, y1 + top * h, x2 - side * w, y1 + bottom * h];
    };
    paint(part(0.35, 0, 0.15), SKIN, exposure);
    paint(part(0.1, 0.15, 0.52), upper, exposure);
    paint(part(0.18, 0.52, 1), lower, exposure);
  }

  return ({ present }) => {
    const exposure = 0.95 + 0.1 * random.next();
    paint([0, 0, scene.width, scene.height], GROUND, exposure);
    for (const person of present) paintPerson(person, exposure);
    if (scene.occluder) paint(scene.occluder, WALL, exposure);
    return { width, height, data };
  };
}
