import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import type { Detection } from '@video-pipeline/frame';
import { loadDetector, optionsForTool } from '../../model/src/load-detector.ts';
import { peerPython, ULTRALYTICS } from '../bench/peers/python.ts';

const PICTURE = join(import.meta.dirname, '../e2e/yolov8n/hd-0.jpg');
/** Tolerances between the server's objects and those of Ultralytics. */
const TOLERANCE = {
  score: 1e-2,
  pixels: 1,
  // Half precision counts in steps of half a pixel of the input, which is half the picture's width, and adds some.
  halfPixels: 3,
};

type Points = readonly (readonly number[])[];
interface Reference {
  score: number;
  classId: number;
  box: number[];
  polygon?: Points;
  keypoints?: Points;
}
interface References {
  found: Record<string, { threshold: number; objects: Reference[] }>;
  failed: Record<string, string>;
}

/**
 * Checks that segmentation and the other tasks give the objects of Ultralytics, and no others.
 * @param exports folder of models exported before
 */
export async function compareTasks(exports?: string) {
  const folder = exports ?? join(cacheDir(), 'tasks-exported');
  if (!exports) {
    const python = await peerPython(ULTRALYTICS);
    const script = join(import.meta.dirname, 'export_tasks.py');
    await promisify(execFile)(python, ['-W', 'ignore', script, folder, PICTURE], { maxBuffer: 1e8 });
  }
  const { found, failed }: References = JSON.parse(await readFile(join(folder, 'tasks.json'), 'utf8'));
  const picture = await readFile(PICTURE);
  const rows = await Array.fromAsync(Object.entries(found), async ([name, { threshold, objects }]) => {
    try {
      const detector = await loadDetector(join(folder, `${name}.onnx`), optionsForTool(2e7));
      const { signal } = new AbortController();
      const [seen] = await detector.detect({ pictures: [picture], threshold, client: 'test', signal });
      await detector.close();
      const ours = seen && 'detections' in seen ? seen.detections : [];
      return { name, head: detector.model.head, ...difference(objects, ours, name.endsWith('fp16')) };
    } catch (error) {
      return { name, ok: false, reason: (error as Error).message.slice(0, 300) };
    }
  });
  return [...rows, ...Object.entries(failed).map(([name, reason]) => ({ name, ok: false, reason }))];
}

/** The largest differences between their objects and the server's. */
function difference(theirs: readonly Reference[], ours: readonly Detection[], isHalf: boolean) {
  const most = { score: 0, box: 0, polygon: 0, keypoints: 0 };
  const left = [...ours];
  for (const one of theirs) {
    const [best] = left
      .filter(({ class_id }) => class_id === one.classId)
      .toSorted((a, b) => pixels(one.box, a.bbox) - pixels(one.box, b.bbox));
    if (!best) return { theirs: theirs.length, ours: ours.length, ok: false, reason: 'an object is missing' };
    left.splice(left.indexOf(best), 1);
    most.score = Math.max(most.score, Math.abs(one.score - best.confidence));
    most.box = Math.max(most.box, pixels(one.box, best.bbox));
    if (one.keypoints)
      most.keypoints = Math.max(most.keypoints, pixels(one.keypoints.flat(), best.keypoints?.flat() ?? []));
    if (one.polygon && !isHalf) most.polygon = Math.max(most.polygon, apart(one.polygon, best.polygon ?? []));
  }
  const ok =
    theirs.length > 0 &&
    left.length === 0 &&
    most.score < TOLERANCE.score &&
    Math.max(most.box, most.polygon, most.keypoints) < (isHalf ? TOLERANCE.halfPixels : TOLERANCE.pixels);
  const points = Math.max(...ours.map(({ polygon = [] }) => polygon.length));
  const bytes = JSON.stringify(ours).length;
  return { theirs: theirs.length, ours: ours.length, ...most, points, bytes, ok };
}

const pixels = (one: readonly number[], other: readonly number[]) =>
  Math.max(...one.map((side, at) => Math.abs(side - (other[at] ?? Number.POSITIVE_INFINITY))));

/** Hausdorff's distance of two closed outlines, pixels. */
function apart(one: Points, other: Points): number {
  const farthest = (points: Points, ring: Points) =>
    Math.max(
      ...points.map((point) =>
        Math.min(...ring.map((from, at) => distance(point, from, ring[(at + 1) % ring.length] ?? from))),
      ),
    );
  return Math.max(farthest(one, other), farthest(other, one));
}

function distance(
  [x = 0, y = 0]: readonly number[],
  [x1 = 0, y1 = 0]: readonly number[],
  [x2 = 0, y2 = 0]: readonly number[],
) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const share = Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - x1 - share * dx, y - y1 - share * dy);
}

if (import.meta.main) {
  const rows = await compareTasks(process.argv[2]);
  console.table(rows);
  if (!rows.every(({ ok }) => ok)) process.exitCode = 1;
}
