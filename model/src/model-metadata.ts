import type { KeypointShape, Task } from './heads/index.ts';

/** Metadata that the exporter wrote into the model's file; only the parts that are used here. */
export interface ModelMetadata {
  /** As the exporter names it: see {@link taskOf}. */
  task?: string;
  /** Class names by id. */
  names?: string[];
  /** The sides of the input are multiples of the stride, pixels. */
  stride?: number;
  /** `[height, width]`, pixels. */
  imgsz?: [number, number];
  /** Whether the model suppresses overlapping boxes by itself. */
  endToEnd?: boolean;
  /** How many key points an object of a pose model has, and how many values a key point: 2 or 3. */
  keypoints?: KeypointShape;
  /** Overlap for non-maximum suppression that the model's authors use, 0..1. */
  iou?: number;
}

/** Limits for the values of a file: it may come from an untrusted source. */
const MAX_CLASSES = 10_000;
/** Characters. */
const MAX_TEXT = 2_000_000;
/** Pixels. */
export const [MIN_SIDE, MAX_SIDE] = [32, 4096];
/** Pixels. */
const MAX_STRIDE = 256;
export const MAX_KEYPOINTS = 500;

/**
 * Reads the metadata that Ultralytics writes into its exports, as Python literals.
 * @see https://github.com/ultralytics/ultralytics/blob/main/ultralytics/engine/exporter.py
 */
export function readMetadata(properties: readonly { key: string; value: string }[]): ModelMetadata {
  const texts = new Map(
    properties.filter(({ value }) => value.length < MAX_TEXT).map(({ key, value }) => [key, value]),
  );
  const metadata: ModelMetadata = {};
  const task = texts.get('task');
  if (task) metadata.task = task;
  const written = texts.get('names') ?? '';
  const literal = parseNames(written);
  const names = literal.length > 0 ? literal : plainNames(written);
  if (names.length > 0) metadata.names = Array.from(names, (name, id) => name || `class ${id}`);
  const stride = Number(texts.get('stride'));
  if (Number.isInteger(stride) && stride > 0 && stride <= MAX_STRIDE) metadata.stride = stride;
  const [height, width] = (texts.get('imgsz') ?? '').match(/\d+/g)?.map(Number) ?? [];
  if (isSide(height) && isSide(width)) metadata.imgsz = [height, width];
  if (/^true$/i.test(texts.get('end2end') ?? '')) metadata.endToEnd = true;
  const [points, values, more] = (texts.get('kpt_shape') ?? '').match(/\d+/g)?.map(Number) ?? [];
  const isShape = points && points <= MAX_KEYPOINTS && (values === 2 || values === 3) && more === undefined;
  if (isShape) metadata.keypoints = [points, values];
  const iou = Number(texts.get('iou'));
  if (iou > 0 && iou <= 1) metadata.iou = iou;
  return metadata;
}

/** The names that exporters give to the tasks that are served: Ultralytics, Hugging Face, others. */
const TASKS: [RegExp, Task][] = [
  [/^(object[-_ ]?)?detect(ion)?$/i, 'detect'],
  [/^(instance[-_ ]?)?segment(ation)?$/i, 'segment'],
  [/^(pose|keypoint[-_ ]?detection)$/i, 'pose'],
  [/^obb$/i, 'obb'],
  [/^(image[-_ ]?)?classif(y|ication)$/i, 'classify'],
];

/** @returns undefined for a task that is not served */
export function taskOf(name: string): Task | undefined {
  return TASKS.find(([pattern]) => pattern.test(name))?.[1];
}

export const TASK_NAMES = TASKS.map(([, task]) => task);

function isSide(pixels: number | undefined): pixels is number {
  return pixels !== undefined && pixels >= MIN_SIDE && pixels <= MAX_SIDE;
}

/** `{0: 'person', 1: "it's"}`, keys quoted or not, or `['person', "it's"]`, also without brackets -> the list */
function parseNames(text: string): string[] {
  const value = String.raw`(?:'((?:[^'\\]|\\.){0,999})'|"((?:[^"\\]|\\.){0,999})")`;
  const isList = /^\s*[[('"]/.test(text);
  const key = isList ? '()' : String.raw`(?<![\w.])["']?(\d{1,5})["']?\s*:\s*`;
  const names: string[] = [];
  for (const [, id = '', single, double] of text.matchAll(new RegExp(key + value, 'g'))) {
    const index = isList ? names.length : Number(id);
    if (index < MAX_CLASSES) names[index] = (single ?? double ?? '').replace(/\\(.)/g, '$1');
  }
  return names;
}

/** Lines `0: person`, `- person` or `person`, or `person, car`, also in brackets -> `['person', 'car']` */
function plainNames(text: string): string[] {
  const inner = text.trim().replace(/^[[{(]\s*|\s*[\]})]$/g, '');
  const parts = inner.split(/\s*[\n,;\t]\s*/, MAX_CLASSES);
  if (parts.length < 2 || /[(){}[\]'"]/.test(inner)) return [];
  const names: string[] = [];
  for (const part of parts) {
    const [, id, name = ''] = /^(?:(\d{1,4}):\s*|-\s+)?(.{0,999})/.exec(part) ?? [];
    names[id === undefined ? names.length : Number(id)] = name;
  }
  return names;
}
