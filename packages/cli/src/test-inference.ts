import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { readConfig } from '@video-pipeline/config';
import type { FrameResult, InferenceClientError } from '@video-pipeline/inference-client';
import { aligned, DIRECTORY, StartError } from '@video-pipeline/local/lightweight';
import type { Command } from 'commander';
import { serverOf, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

type Seen = Exclude<FrameResult, { error: string }>;

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
      const endpoint = target.stage && process.env.SAGEMAKER_ENDPOINT_NAME;
      const server = endpoint || (await serverOf('inference', target));
      const jpeg = picture ? await readFile(resolve(DIRECTORY, picture)) : await firstPicture();
      const began = performance.now();
      const result = await detect(server, jpeg);
      const milliseconds = Math.round(performance.now() - began);
      if ('error' in result) throw new StartError(`${server} can't use the picture: ${result.error}`);
      const file = resolve(DIRECTORY, output);
      const { annotateJpeg } = await import('@video-pipeline/functions');
      await writeFile(file, await annotateJpeg({ jpeg, ...result }, result.detections));
      const answer = { ...result, milliseconds, annotated: file };
      console.log(json ? JSON.stringify(answer) : describe(answer));
    });
}

/** The first picture of a demo clip, decoded and encoded as by ingest. */
async function firstPicture(): Promise<Buffer> {
  const [url = ''] = await fetchAsset(CLIPS, console.error);
  const { MAX_FRAME_BYTES, JPEG_QUALITY } = readConfig(['MAX_FRAME_BYTES', 'JPEG_QUALITY']);
  // Loaded only here: the other commands need neither FFmpeg nor an image library.
  const { probe } = await import('@video-pipeline/ingest-host');
  const encoding = { maxFrameBytes: MAX_FRAME_BYTES, quality: JPEG_QUALITY };
  return (await probe(url, { transport: 'tcp', seconds: 0, timeoutSeconds: 10, ...encoding })).jpeg.jpeg;
}

/** @param server a URL, or the name of a stage's SageMaker endpoint */
async function detect(server: string, jpeg: Buffer): Promise<FrameResult> {
  const { createInferenceClient, INFERENCE_VARIABLES } = await import('@video-pipeline/inference-client');
  const config = readConfig(INFERENCE_VARIABLES);
  const http = { INFERENCE_BACKEND: 'http', INFERENCE_SERVICE_URL: server } as const;
  const client = createInferenceClient(URL.canParse(server) ? { ...config, ...http } : config);
  const frame = { streamId: 'test-inference', session: '', frameNumber: 0, capturedAt: 0, jpeg };
  try {
    const [result] = await client.detect([{ ...frame, width: 0, height: 0 }]);
    return result as FrameResult;
  } catch (cause) {
    const { status, message } = cause as InferenceClientError;
    const at = status ? '' : `no inference server answers at ${server}: `;
    throw new StartError(at + message, { cause });
  }
}

function describe(answer: Seen & { milliseconds: number; annotated: string }): string {
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
