// Compares exported models with each project's own code, and checks Python clients against the server.
//   npm run test:models
// Exports them with random weights in Python, from PyPI: some gigabytes, as its PyTorch for Linux carries CUDA.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual, promisify } from 'node:util';
import { cacheDir, defaultModelPath } from '@video-pipeline/assets';
import { exported } from '@video-pipeline/tables';
import { parseTar } from 'nanotar';
import sharp from 'sharp';
import { intersectionOverUnion } from '../../model/src/heads/index.ts';
import { loadDetector, optionsForTool } from '../../model/src/load-detector.ts';
import { buildNanodet } from '../../model/src/nanodet/build.ts';
import { npmScript } from '../bench/options.ts';
import { type PythonPeer, peerPython } from '../bench/peers/python.ts';
import { clipFrames } from '../e2e/model-clips.ts';
import { startModel } from '../e2e/model-process.ts';
import { compareTasks } from './tasks.ts';

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
    ...['onnxscript==0.7.2', 'transformers==5.24.0', 'timm==1.0.31', 'tritonclient[http]==2.73.0'],
    ...['rfdetr==1.11.2', 'scipy==1.17.1'],
    // What YOLO-NAS needs: the versions that it pins fit no Python of today.
    ...['omegaconf==2.3.1', 'hydra-core==1.3.8', 'Deprecated==1.3.1', 'treelib==1.8.0', 'termcolor==3.3.0'],
    ...[
      'stringcase==1.2.0',
      'einops==0.8.2',
      'json-tricks==3.17.3',
      'jsonschema==4.26.0',
      'rapidfuzz==3.14.6',
    ],
  ],
  // Super-gradients imports `pkg_resources`, which later versions of setuptools do not have.
  bare: ['d-fine-project==1.0.0', 'super-gradients==3.7.1', 'setuptools==80.9.0'],
};
const PICTURE = join(import.meta.dirname, '../e2e/yolov8n/hd-0.jpg');
/** Detections with scores this close to the lowest reference may be missing on either side. */
const TOLERANCE = { score: 2e-3, overlap: 0.97 };
/** Share of a project's objects that must be detected: of boxes with equal scores, either may be kept. */
const LEAST_SHARE = 0.9;

type Found = [score: number, classId: number, box: [number, number, number, number]];
interface References {
  found: Record<string, Found[]>;
  failed: Record<string, string>;
}

const folder = options.exports ?? join(cacheDir(), 'models-exported');
const python = await peerPython(PROJECTS);
const script = async (name: string, ...args: string[]) => {
  const all = ['-W', 'ignore', join(import.meta.dirname, name), ...args];
  const { stdout } = await promisify(execFile)(python, all, { maxBuffer: 1e8 });
  // Ultralytics prints what it does before.
  return stdout.trim().split('\n').at(-1) ?? '';
};
if (!options.exports) await script('export.py', folder, PICTURE);
const { found, failed }: References = JSON.parse(await readFile(join(folder, 'references.json'), 'utf8'));
const picture = await readFile(PICTURE);
const rows: Row[] = await Array.fromAsync(Object.entries(found), ([name, objects]) => compare(name, objects));
rows.push(...Object.entries(failed).map(([name, reason]) => ({ name, ok: false, reason })));
rows.push(
  ...(await clients('yolov8n-dynamic')),
  ...(await pictures()),
  await dataSet(),
  ...(await compareTasks()),
);
console.table(rows);
const wrong = rows.filter(({ ok }) => !ok).length;
console.log(`\n${rows.length - wrong} passed, ${wrong} failed`);
if (wrong > 0) process.exitCode = 1;

interface Row {
  name: string;
  ok: boolean;
  [fact: string]: unknown;
}

/** Triton's own client and Ultralytics' against a server with a model that was exported. */
async function clients(name: string): Promise<Row[]> {
  const server = await startModel(['--model', join(folder, `${name}.onnx`)]);
  try {
    const answers = JSON.parse(await script('clients.py', server.url, name, PICTURE));
    const [first, second] = answers.triton as { confidence: number; class_id: number; bbox: Found[2] }[][][];
    const same = rowOf("Ultralytics' client", found[name] ?? [], answers.ultralytics);
    const isTold = answers.metadata.inputs[0].name === 'image' && /no output "boxes"/.test(answers.refused);
    const isSame = isDeepStrictEqual(first, second) && isDeepStrictEqual(first?.[0], first?.[1]);
    const seen = (first?.[0] ?? []).map(
      ({ confidence, class_id, bbox }): Found => [confidence, class_id, bbox],
    );
    const triton = rowOf("Triton's client", found[name] ?? [], seen);
    return [same, { ...triton, ok: triton.ok && isTold && isSame }];
  } finally {
    await server.stop();
  }
}

/** NanoDet-g with its own weights on 19 pictures, from 360 x 288 pixels to 4K. */
async function pictures(): Promise<Row[]> {
  const model = defaultModelPath();
  await buildNanodet(() => {}, model);
  const clips = await clipFrames(12, 6, (scaler, frame) => scaler.toJpeg(frame, { quality: 90 }));
  const widths = [undefined, 1280, 3840];
  const jpegs = clips.flatMap(({ pictures }) => pictures);
  const temporary = await mkdtemp(join(tmpdir(), 'pictures-'));
  try {
    const files = await Promise.all(
      jpegs.map(async (jpeg, at) => {
        const file = join(temporary, `${at}.jpg`);
        await sharp(jpeg)
          .resize(widths[at % 3])
          .jpeg({ quality: 90 })
          .toFile(file);
        return file;
      }),
    );
    files.push(PICTURE);
    const theirs: Found[][] = JSON.parse(await script('pictures.py', model, ...files));
    const ours = await see(model, await Promise.all(files.map((file) => readFile(file))), 0.3);
    const moved = theirs.flatMap((objects, at) => objects.map((one) => nearest(one, ours[at] ?? [])));
    const count = ours.flat().length;
    const most = (part: 'score' | 'pixels') => Math.max(...moved.map((one) => one[part]));
    const ok = count === moved.length && moved.length > 0 && most('score') < 0.01 && most('pixels') < 4;
    const facts = { theirs: moved.length, same: count, score: most('score'), pixels: most('pixels') };
    return [{ name: `nanodet-g, ${files.length} pictures`, ...facts, ok }];
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** A search's export for training, as Ultralytics reads it: pictures, classes and boxes, one reaching beyond the picture. */
async function dataSet(): Promise<Row> {
  const temporary = await mkdtemp(join(tmpdir(), 'data-set-'));
  try {
    const bucket = { read: async () => readFile(PICTURE) };
    const seen = (class_name: string, bbox: Found[2]) => ({ class_id: 0, class_name, confidence: 0.5, bbox });
    const frame = (number: number, detections: ReturnType<typeof seen>[]) => ({
      ...{ stream_id: 'yard', session: 's', frame_number: number, captured_at: number, model: 'm' },
      ...{ width: 1280, height: 720, annotated_key: `annotated/${number}.jpg`, detections },
    });
    const frames = [
      frame(0, [seen('dog', [128, 72, 256, 144]), seen('a: "b"', [-64, 0, 64, 720])]),
      frame(1, []),
    ];
    const tables = {
      search: async () => ({ frames, searched_to: 0 }),
      parquet: () => Promise.reject(new Error('not asked for')),
    };
    const query = { confidence: 0, from: 0, to: 2, limit: 10 };
    const pieces = exported(tables, query, 'yolo-tar', { reader: bucket });
    const tar = Buffer.concat(await Array.fromAsync(pieces, (piece) => Buffer.from(piece)));
    for (const { name, data } of parseTar(new Uint8Array(tar).buffer)) {
      const file = join(temporary, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, data ?? '');
    }
    const read = JSON.parse(await script('yolo_dataset.py', join(temporary, 'data.yaml')));
    const expected = {
      names: { 0: 'dog', 1: 'a: "b"' },
      labels: [
        {
          classes: [0, 1],
          boxes: [
            [0.15, 0.15, 0.1, 0.1],
            [0.025, 0.5, 0.05, 1],
          ],
        },
        { classes: [], boxes: [] },
      ],
    };
    return { name: "YOLO's layout in Ultralytics", ok: isDeepStrictEqual(read, expected) };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Distance of the most similar object of the same class. */
function nearest([score, kind, box]: Found, among: readonly Found[]) {
  const alike = among.filter(([, other]) => other === kind);
  const [best] = alike.toSorted(
    (a, b) => intersectionOverUnion(b[2], box) - intersectionOverUnion(a[2], box),
  );
  if (!best) return { score: 1, pixels: Number.POSITIVE_INFINITY };
  const pixels = Math.max(...box.map((side, at) => Math.abs(side - (best[2][at] ?? 0))));
  return { score: Math.abs(score - best[0]), pixels };
}

/** Number of a project's objects that the server detects, too. */
function rowOf(name: string, objects: readonly Found[], ours: readonly Found[]): Row {
  const same = objects.filter(([score, classId, box]) => {
    const clipped = box.map((side, at) => Math.min(Math.max(side, 0), at % 2 ? 720 : 1280)) as typeof box;
    return ours.some(
      ([ourScore, ourClass, ourBox]) =>
        ourClass === classId &&
        Math.abs(ourScore - score) < TOLERANCE.score &&
        intersectionOverUnion(ourBox, clipped) > TOLERANCE.overlap,
    );
  });
  const ok = objects.length > 0 && same.length >= LEAST_SHARE * objects.length;
  return { name, theirs: objects.length, same: same.length, surest: objects[0]?.[0].toFixed(3), ok };
}

/** Detections of the server for pictures. */
async function see(path: string, pictures: Buffer[], threshold: number) {
  const detector = await loadDetector(path, { ...optionsForTool(2e7), maxDetections: 1000 });
  const { signal } = new AbortController();
  const seen = await detector.detect({ pictures, threshold, client: 'test', signal });
  await detector.close();
  return Object.assign(
    seen.map((one) =>
      ('detections' in one ? one.detections : []).map(
        ({ confidence, class_id, bbox }): Found => [confidence, class_id, bbox],
      ),
    ),
    { head: detector.model.head },
  );
}

async function compare(name: string, objects: readonly Found[]): Promise<Row> {
  try {
    const seen = await see(join(folder, `${name}.onnx`), [picture], 1e-3);
    return { ...rowOf(name, objects, seen[0] ?? []), head: seen.head };
  } catch (error) {
    return { name, theirs: objects.length, ok: false, reason: (error as Error).message.slice(0, 160) };
  }
}
