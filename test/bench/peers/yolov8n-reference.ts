// Makes what test/e2e/model-yolov8n.test.ts compares with: pictures, and what ultralytics sees in them in PyTorch.
//   npm run reference:yolov8n
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { clipFrames } from '../../e2e/model-clips.ts';
import { jpegs720p } from '../footage.ts';
import { buildYolov8n, EXPORTED_YOLOV8N } from '../yolov8n.ts';
import { peerPython, ULTRALYTICS } from './python.ts';

const folder = resolve(import.meta.dirname, '../../e2e/yolov8n');
const weights = EXPORTED_YOLOV8N.replace('.onnx', '-weights.onnx');
await buildYolov8n(weights);
const pictures = await writePictures();
const result = join(folder, 'reference.json');
const script = join(import.meta.dirname, 'yolov8n.py');
const python = await peerPython(ULTRALYTICS);
await promisify(execFile)(python, [script, 'reference', weights, EXPORTED_YOLOV8N, result, ...pictures]);

/** A few kinds of frames: 720p, which is halved; smaller ones, which are enlarged; one turned by EXIF. */
async function writePictures(): Promise<string[]> {
  const hd = await jpegs720p(13);
  const clips = await clipFrames(40, 1, (scaler, frame) => scaler.toJpeg(frame, { quality: 85 }));
  const [wide, , tall] = clips.map(({ pictures: [picture] }) => picture);
  const turned = await sharp(wide).withMetadata({ orientation: 6 }).jpeg({ quality: 85 }).toBuffer();
  const files = { 'hd-0': hd[0], 'hd-12': hd[12], '400x300': wide, '360x288': tall, turned };
  return Promise.all(
    Object.entries(files).map(async ([name, jpeg]) => {
      const path = join(folder, `${name}.jpg`);
      await writeFile(path, jpeg ?? '');
      return path;
    }),
  );
}
