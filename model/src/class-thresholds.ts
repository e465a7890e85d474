import type { ModelFile } from './model-file.ts';
import { UnsupportedModelError } from './unsupported-model.ts';

/**
 * @param byName thresholds by class name, 0..1; a class that the model does not name is called `class 7`
 * @param onUnknown called with what is wrong with a name that is none of the model's classes
 * @returns thresholds by class id
 * @throws UnsupportedModelError for such a name, without `onUnknown`
 */
export function thresholdsById(
  byName: ReadonlyMap<string, number>,
  { classNames, path }: Pick<ModelFile, 'classNames' | 'path'>,
  onUnknown = (problem: string): void => {
    throw new UnsupportedModelError(problem);
  },
): Map<number, number> {
  const byId = new Map<number, number>();
  for (const [name, threshold] of byName) {
    const number = classNames.length === 0 ? /^class (\d+)$/.exec(name)?.[1] : undefined;
    const ids = number ? [Number(number)] : [...classNames.keys()].filter((id) => classNames[id] === name);
    for (const id of ids) byId.set(id, threshold);
    if (ids.length > 0) continue;
    const [nearest] = classNames.toSorted((a, b) => likeness(name, b) - likeness(name, a));
    const known = nearest === undefined ? 'it names none: see --names' : `the nearest is '${nearest}'`;
    onUnknown(`${path}: it has no class '${name}' for a threshold; ${known}`);
  }
  return byId;
}

/** Share of pairs of neighbouring letters that two names have in common (Dice's coefficient). */
function likeness(one: string, other: string): number {
  const [a, b] = [pairsOf(one), pairsOf(other)];
  const shared = [...a].filter((pair) => b.has(pair));
  return (2 * shared.length) / (a.size + b.size);
}

function pairsOf(name: string): Set<string> {
  const text = ` ${name.toLowerCase()} `;
  return new Set(Array.from(text, (_, at) => text.slice(at, at + 2)));
}
