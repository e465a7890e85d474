import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { readConfig, urlBelow } from '@video-pipeline/config';
import { type Detection, decodeFrame, type Frame } from '@video-pipeline/frame';
import { aligned, DIRECTORY, StartError } from '@video-pipeline/local/place';
import type { Command } from 'commander';
import { serverOf, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

type Result = Seen | { frame_number: number; error: string };
type Seen = { frame_number: number; width: number; height: number; detections: Detection[] };

interface Options extends Target {
  picture?: string;
  output: string;
}

export function inferenceCommand(): Command {
  return targetCommand(
    'test-inference',
    'send a picture to the inference server, print its answer, and write the annotated picture',
  )
    .option('--picture <file.jpg>', 'a JPEG (default: the first frame of a demo clip)')
    .option('--output <file.jpg>', 'where the annotated picture goes', 'test-inference.jpg')
    .action(async ({ picture, output, json, ...target }: Options) => {
      const server = await serverOf('inference', target);
      const jpeg = picture ? await readFile(resolve(DIRECTORY, picture)) : (await firstFrame()).jpeg;
      const began = performance.now();
      const { model, result } = await predict(server, jpeg);
      const milliseconds = Math.round(performance.now() - began);
      if ('error' in result) throw new StartError(`${server} can't use the picture: ${result.error}`);
      const file = resolve(DIRECTORY, output);
      const { annotateJpeg } = await import('@video-pipeline/functions');
      await writeFile(file, await annotateJpeg({ jpeg, ...result }, result.detections));
      const answer = { model, milliseconds, ...result, annotated: file };
      console.log(json ? JSON.stringify(answer) : describe(answer));
    });
}

/** The first frame of a demo clip, decoded and encoded by ingest itself. */
async function firstFrame(): Promise<Frame> {
  const [url = ''] = await fetchAsset(CLIPS, console.error);
  const { MAX_FRAME_BYTES, JPEG_QUALITY, FRAME_RATE } = readConfig([
    'MAX_FRAME_BYTES',
    'JPEG_QUALITY',
    'FRAME_RATE',
  ]);
  // Loaded only here: the other commands need neither FFmpeg nor an image library.
  const { Ingest } = await import('@video-pipeline/ingest-host');
  const frames: Frame[] = [];
  const ingest = new Ingest(
    async (records) => {
      for (const { key, value, headers } of records)
        frames.push(decodeFrame({ key: Buffer.from(key), value, headers }));
    },
    {
      maxFrameBytes: MAX_FRAME_BYTES,
      bufferSeconds: 1,
      bufferBytes: MAX_FRAME_BYTES,
      stallSeconds: 10,
      maxFrames: 1,
      log: { info() {}, warn: console.error, error: console.error },
    },
  );
  await ingest.run([{ id: 'clip', url, frameRate: FRAME_RATE, quality: JPEG_QUALITY, transport: 'tcp' }]);
  const [frame] = frames;
  if (!frame) throw new StartError(`${url} gave no frame`);
  return frame;
}

async function predict(server: string, jpeg: Buffer): Promise<{ model: string; result: Result }> {
  const body = {
    stream_id: 'test-inference',
    frames: [{ frame_number: 0, frame_data: jpeg.toString('base64') }],
  };
  let response: Response;
  try {
    response = await fetch(urlBelow(server, 'predict'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  } catch (cause) {
    throw new StartError(`no inference server answers at ${server}`, { cause });
  }
  if (!response.ok) throw new StartError(`${server} answers ${response.status}: ${await response.text()}`);
  const { model, results } = (await response.json()) as { model: string; results: [Result] };
  return { model, result: results[0] };
}

function describe(answer: Seen & { model: string; milliseconds: number; annotated: string }): string {
  const { model, milliseconds, width, height, detections, annotated } = answer;
  const rows = detections.map(({ class_name, confidence, bbox }) => [
    class_name,
    confidence.toFixed(2),
    bbox.map((side) => side.toFixed(0)).join(' '),
  ]);
  return [
    `${model}: ${detections.length} objects in ${width}x${height}, ${milliseconds} ms`,
    ...aligned([['class', 'confidence', 'box'], ...rows]),
    `annotated picture: ${annotated}`,
  ].join('\n');
}
