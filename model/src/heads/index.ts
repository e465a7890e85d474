import type { Head } from './head.ts';
import { yolov8 } from './yolov8.ts';

export * from './head.ts';
export * from './nms.ts';

/** Every family of models that can be served, by the name that `--head` takes. */
export const heads = { yolov8 } satisfies Record<string, Head>;
export type HeadName = keyof typeof heads;

/** An output as the model's file declares it: sizes, or names of sizes that vary. */
export interface OutputShape {
  name: string;
  shape: readonly (number | string)[];
}

/**
 * Tells a model's family by its outputs.
 * @param classes how many the model's metadata names, when it does
 * @returns `undefined` when no family fits
 */
export function recogniseHead(
  outputs: readonly OutputShape[],
  classes: number | undefined,
): HeadName | undefined {
  const [first] = outputs;
  const [, rows] = first?.shape ?? [];
  if (outputs.length === 1 && first?.shape.length === 3 && typeof rows === 'number') {
    if (classes === undefined ? rows > 4 : rows === 4 + classes) return 'yolov8';
  }
  return undefined;
}
