import { randomUUID } from 'node:crypto';
import { urlBelow } from '@video-pipeline/config';
import type { Frame } from '@video-pipeline/frame';
import request from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { type FrameResult, type InferenceClient, InferenceClientError } from './client.ts';
import { decodeResponse, encodeRequest } from './open-inference.ts';
import { decodePredict, encodePredict } from './predict.ts';
import { isModelName, isRecord } from './response.ts';

interface HttpClientOptions {
  /** Base URL of the inference server. */
  url: string;
  /** Longest wait for one answer, milliseconds. */
  timeoutMs: number;
  /** Lowest confidence of a detection that is returned, 0..1. */
  threshold: number;
  /** Longest answer read, bytes. */
  maxResponseBytes?: number;
  /** Longest life of a connection, milliseconds. Behind a load balancer, new servers only get new connections. */
  connectionMs?: number;
}

const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;
/** Life of a connection, so that a load balancer spreads connections over all servers. */
const CONNECTION_MS = 60_000;
/** A connection that was idle this long may have been closed by the server, milliseconds. */
const RESTED_MS = 1_000;
/** Id of this client. The model server serves clients in turn, and several may share one address. */
const CLIENT_ID = randomUUID();
/** Errors of a request on a connection that the server has closed. */
const CLOSED = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);
/** Statuses of a server that does not know the path. */
const NOT_THERE = new Set([404, 405]);

/**
 * A client for an inference server over HTTP. It uses the Open Inference Protocol v2 if the server has it, otherwise
 * `POST /predict`. Connections are kept open.
 */
export function createHttpClient(options: HttpClientOptions): InferenceClient {
  const { threshold } = options;
  const call = caller(options);
  // What is known about the server. The server is asked again when it does not know a path.
  let model: string | undefined;
  let speaksPredictAlone = false;

  async function infer(name: string, frames: readonly Frame[]): Promise<FrameResult[] | undefined> {
    const { headerLength, body } = encodeRequest(frames, threshold);
    const headers = {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(headerLength),
    };
    const json = await call(`v2/models/${encodeURIComponent(name)}/infer`, { headers, body });
    return json === undefined ? undefined : decodeResponse(json, frames, threshold);
  }

  async function predict(frames: readonly Frame[]): Promise<FrameResult[]> {
    const results: FrameResult[] = new Array(frames.length);
    const headers = { 'content-type': 'application/json' };
    const streams = Map.groupBy(frames.entries(), ([, { streamId }]) => streamId);
    for (const [streamId, entries] of streams) {
      const own = entries.map(([, frame]) => frame);
      const json = await call('predict', { headers, body: encodePredict(streamId, own) });
      if (json === undefined) {
        speaksPredictAlone = false;
        const text = `${options.url} knows neither /v2/models nor /predict`;
        throw new InferenceClientError(text, { status: 404 });
      }
      for (const [index, result] of decodePredict(json, own, threshold).entries()) {
        results[entries[index]?.[0] ?? index] = result;
      }
    }
    return results;
  }

  return {
    async detect(frames, wanted) {
      const results = wanted === undefined ? undefined : await infer(wanted, frames);
      if (results) return results;
      for (const again of speaksPredictAlone ? [] : [false, true]) {
        if (again || model === undefined) model = modelName(await call('health'));
        if (model === undefined) break;
        const results = await infer(model, frames);
        if (results) return results;
      }
      speaksPredictAlone = true;
      return predict(frames);
    },
  };
}

/** The model that `GET /health` names, if it names one. */
function modelName(health: string | undefined): string | undefined {
  try {
    const answer: unknown = JSON.parse(health ?? '');
    return isRecord(answer) && isModelName(answer.model) ? answer.model : undefined;
  } catch {
    return undefined;
  }
}

/** @returns a call that gives the answer's text, or `undefined` when the server has no such path. */
function caller({
  url,
  timeoutMs,
  maxResponseBytes = MAX_RESPONSE_BYTES,
  connectionMs = CONNECTION_MS,
}: HttpClientOptions) {
  // The signal limits the whole call. The agent's own limits would end a longer call.
  const dispatcher = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    maxResponseSize: maxResponseBytes,
    clientTtl: connectionMs,
  });
  let answeredAt = Number.POSITIVE_INFINITY;

  return async (
    path: string,
    post?: { headers: Record<string, string>; body: Buffer | string },
  ): Promise<string | undefined> => {
    const target = urlBelow(url, path);
    const signal = AbortSignal.timeout(timeoutMs);
    const ask = async () => {
      const method = post ? 'POST' : 'GET';
      const headers = { ...post?.headers, 'x-client-id': CLIENT_ID };
      const { origin, pathname, search } = target;
      const path = `${pathname}${search}`;
      const options = { origin, path, signal, method, ...post, headers } as const;
      const { statusCode, body } = await request.call(dispatcher, options);
      const answer = { status: statusCode, text: await body.text() };
      answeredAt = Date.now();
      return answer;
    };
    const rested = Date.now() - answeredAt > RESTED_MS;
    const { status, text } = await ask()
      .catch((cause) => {
        // The server may have closed the connection while a Lambda was frozen. A new connection shows whether the
        // server is up.
        if (rested && CLOSED.has(cause?.code)) return ask();
        throw cause;
      })
      .catch((cause) => {
        const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
        throw new InferenceClientError(`no answer from ${target}: ${reason}`, { cause });
      });
    if (NOT_THERE.has(status)) return undefined;
    if (status !== 200) {
      // A status of a request without frames says nothing of the frames.
      const about = post ? { status } : {};
      throw new InferenceClientError(`${target} answered ${status}: ${text.slice(0, 200)}`, about);
    }
    return text;
  };
}
