import { encodeRequest } from '../../packages/inference-client/src/open-inference.ts';
import { meterCpu } from './processes.ts';

/** How a server is asked: by the Open Inference Protocol with binary JPEGs, or by `/predict` with base64. */
export interface Target {
  url: URL;
  protocol: 'v2' | 'predict';
  /** The server's process, when it runs here. */
  pid?: number;
}

/** What one measurement sends. */
export interface Load {
  framesPerRequest: number;
  /** Requests under way at any time. */
  concurrency: number;
  /** Frames in all. */
  frames: number;
}

export interface Sample {
  framesPerSecond: number;
  /** Of the server alone; `NaN` when it runs elsewhere. */
  cpuMsPerFrame: number;
  /** One an answered request, milliseconds. */
  latencies: number[];
  /** Requests that got 429. */
  refused: number;
}

/** Detections under it are left out, 0..1. */
export const THRESHOLD = 0.25;

/**
 * Keeps `concurrency` requests under way until all frames are sent and answered.
 * @param until no request is begun after it, as `performance.now()` counts
 */
export async function measure(
  target: Target,
  load: Load,
  jpegs: readonly Buffer[],
  until = Number.POSITIVE_INFINITY,
): Promise<Sample> {
  const { framesPerRequest, concurrency, frames } = load;
  const requests = frames / framesPerRequest;
  const sample = { latencies: [] as number[], refused: 0 };
  let sent = 0;
  const client = async () => {
    while (sent < requests && performance.now() < until) {
      const first = (sent++ * framesPerRequest) % jpegs.length;
      const began = performance.now();
      const isAnswered = await post(target, jpegs.slice(first, first + framesPerRequest));
      if (isAnswered) sample.latencies.push(performance.now() - began);
      else sample.refused++;
    }
  };
  const meter = meterCpu(target.pid ? [{ name: 'server', pid: target.pid }] : []);
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, client));
  const answered = sample.latencies.length * framesPerRequest;
  return {
    ...sample,
    framesPerSecond: (1000 * answered) / (performance.now() - began),
    cpuMsPerFrame: (meter.stop().server ?? Number.NaN) / answered,
  };
}

/** @returns false when the server has too much work already */
async function post({ url, protocol }: Target, jpegs: Buffer[]): Promise<boolean> {
  const { headers, body } = protocol === 'v2' ? toV2(jpegs) : toPredict(jpegs);
  const response = await fetch(url, { method: 'POST', headers, body });
  const answer = (await response.json()) as Answer;
  if (response.status === 429) return false;
  const results = answer.outputs?.[0]?.data ?? answer.results;
  if (results?.length !== jpegs.length) throw new Error(`${url} has no answer: ${JSON.stringify(answer)}`);
  return true;
}

interface Answer {
  outputs?: { data: unknown[] }[];
  results?: unknown[];
}

function toV2(jpegs: Buffer[]) {
  const frames = jpegs.map((jpeg, frameNumber) => ({
    ...{ streamId: 'bench', frameNumber, session: 'bench', capturedAt: 0, width: 1280, height: 720 },
    jpeg,
  }));
  const { headerLength, body } = encodeRequest(frames, THRESHOLD);
  const headers = {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(headerLength),
  };
  return { headers, body: new Uint8Array(body) };
}

function toPredict(jpegs: Buffer[]) {
  const frames = jpegs.map((jpeg, index) => ({ frame_number: index, frame_data: jpeg.toString('base64') }));
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ stream_id: 'bench', threshold: THRESHOLD, frames }),
  };
}
