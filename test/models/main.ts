// Whether models as people export them give what each project's own code makes of them.
//   npm run test:models
// Exports them with random weights in Python, from PyPI: some gigabytes, as its PyTorch for Linux carries CUDA.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { intersectionOverUnion } from '../../model/src/heads/index.ts';
import { loadDetector } from '../../model/src/load-detector.ts';
import { npmScript } from '../bench/options.ts';
import { type PythonPeer, peerPython } from '../bench/peers/python.ts';

const options = npmScript('test:models', 'Real exports of several projects, beside their own code.')
  .option('--exports <folder>', 'exports made before, with their references.json')
  .parse()
  .opts<{ exports?: string }>();

const PROJECTS: PythonPeer = {
  name: 'models',
  packages: [
    ...[
      'ultralytics==8.4.190',
      'torch==2.15.0',
      'torchvision==0.29.2',
      'onnx==1.23.2',
      'onnxruntime==1.30.0',
    ],
    ...['onnxscript', 'transformers', 'timm'],
  ],
};
const PICTURE = join(import.meta.dirname, '../e2e/yolov8n/hd-0.jpg');
/** Scores nearer than this to the least sure reference may be among those left out on either side. */
const TOLERANCE = { score: 2e-3, overlap: 0.97 };
/** Share of a project's objects that must be seen: of boxes that tie, either may be kept. */
const LEAST_SHARE = 0.9;

type Found = [score: number, classId: number, box: [number, number, number, number]];
interface References {
  found: Record<string, Found[]>;
  failed: Record<string, string>;
}

const folder = options.exports ?? join(cacheDir(), 'models-exported');
if (!options.exports) {
  const python = await peerPython(PROJECTS);
  await promisify(execFile)(python, [
    '-W',
    'ignore',
    join(import.meta.dirname, 'export.py'),
    folder,
    PICTURE,
  ]);
}
const { found, failed }: References = JSON.parse(await readFile(join(folder, 'references.json'), 'utf8'));
const picture = await readFile(PICTURE);
const rows = await Array.fromAsync(Object.entries(found), ([name, objects]) => compare(name, objects));
console.table(rows);
for (const [name, reason] of Object.entries(failed)) console.log(`${name}: not exported: ${reason}`);
if (rows.some(({ ok }) => !ok)) process.exitCode = 1;

async function compare(name: string, objects: readonly Found[]) {
  try {
    const detector = await loadDetector(join(folder, `${name}.onnx`), {
      ...{ device: 'cpu', threads: 1, precision: 'f32', select: 'host', candidates: 1000 },
      ...{ classAgnostic: false, maxDetections: 1000 },
      detector: {
        ...{ maxQueue: 1, maxPixels: 1e7, resize: 'opencv', classThresholds: new Map() },
        ...{ observe() {}, observeBatch() {}, observeCut() {}, onWarmUpError() {} },
      },
    });
    const { signal } = new AbortController();
    const [seen] = await detector.detect({ pictures: [picture], threshold: 1e-3, client: 'test', signal });
    await detector.close();
    const ours = seen && 'detections' in seen ? seen.detections : [];
    const same = objects.filter(([score, classId, box]) => {
      const clipped = box.map((side, at) => Math.min(Math.max(side, 0), at % 2 ? 720 : 1280)) as typeof box;
      return ours.some(
        (one) =>
          one.class_id === classId &&
          Math.abs(one.confidence - score) < TOLERANCE.score &&
          intersectionOverUnion(one.bbox, clipped) > TOLERANCE.overlap,
      );
    });
    const share = objects.length > 0 ? same.length / objects.length : Number.NaN;
    const { head } = detector.model;
    return {
      name,
      head,
      theirs: objects.length,
      same: same.length,
      surest: objects[0]?.[0].toFixed(3),
      ok: share >= LEAST_SHARE,
    };
  } catch (error) {
    return { name, head: (error as Error).message.slice(0, 160), theirs: objects.length, same: 0, ok: false };
  }
}
