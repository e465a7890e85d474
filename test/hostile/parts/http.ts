import { once } from 'node:events';
import { request as plain } from 'node:http';
import { Worker } from 'node:worker_threads';
import { httpAttacks, send } from '../../support/http-attacks.ts';
import { manyScans } from '../../support/many-scans.ts';
import type { Random } from '../../support/random.ts';
import { OUTCOME_MS, type Target } from '../target.ts';
import type { Attack, Part } from './part.ts';

const LISTENERS = ['inference', 'health', 'console'] as const;
type Listener = (typeof LISTENERS)[number];
const JSON_TYPE = { 'content-type': 'application/json' };
/** Longest response time of a probe under load, milliseconds, or in response times without load. */
const PATIENCE = { ms: 5_000, requests: 10 };

/** Requests of clients and web pages to the servers on a developer's machine. */
export const http: Part = {
  name: 'http',
  attacks: (random, mutations) => [
    ...LISTENERS.map(bytes),
    ...LISTENERS.map(pages),
    scans,
    overload,
    clips,
    madeUpPictures(random, mutations),
  ],
};

/** @returns the status and the beginning of the response */
async function ask(
  target: Target,
  listener: Listener,
  path: string,
  headers: Record<string, string> = {},
  body?: string,
) {
  const url = new URL(path, target.endpoints[listener]);
  const signal = AbortSignal.timeout(OUTCOME_MS);
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sent = plain(url, { method: body === undefined ? 'GET' : 'POST', headers, signal }, (response) => {
      let text = '';
      response.on('data', (data) => {
        if (text.length < 200) text += data;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: text.slice(0, 200) }));
    });
    sent.on('error', reject).end(body);
  });
}

async function mustAnswer(
  target: Target,
  listener: Listener,
  expected: number,
  what: string,
  ...how: [path: string, headers?: Record<string, string>, body?: string]
): Promise<void> {
  const { status, text } = await ask(target, listener, ...how);
  if (status !== expected) throw new Error(`${what}: answered with ${status}, not ${expected}: ${text}`);
}

function bytes(listener: Listener): Attack {
  return {
    name: `bytes that are no request, to ${listener}`,
    async run(target) {
      for (const [what, sent] of httpAttacks) {
        const answer = await send(target.endpoints[listener] ?? '', sent, 100);
        // The console shows its page to each client on this machine, with any query.
        const isWrong = listener === 'console' ? /^HTTP\/1.1 101|"private"/ : /^HTTP\/1.1 (200|101)/;
        if (isWrong.test(answer) || /node_modules|root:x/.test(answer))
          throw new Error(`${what}: ${answer.slice(0, 100)}`);
        await mustAnswer(target, listener, 200, `/health after ${what}`, '/health');
      }
    },
  };
}

function pages(listener: Listener): Attack {
  const form = { 'content-type': 'text/plain', origin: 'https://evil.example' };
  const paths = { inference: '/predict', health: '/health', console: '/api/cameras' };
  return {
    name: `web pages, to ${listener}`,
    async run(target) {
      const path = paths[listener];
      await mustAnswer(target, listener, 403, 'a form of another site', path, form, '{}');
      await mustAnswer(target, listener, 403, 'a rebound name', path, { host: 'evil.example' });
      const foreign = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' };
      await mustAnswer(target, listener, 403, 'a foreign read', path, foreign);
    },
  };
}

const predict = (pictures: readonly Buffer[]) =>
  JSON.stringify({
    stream_id: 'hostile',
    frames: pictures.map((jpeg, frame_number) => ({ frame_number, frame_data: jpeg.toString('base64') })),
  });

const scans: Attack = {
  name: 'pictures of 2,646 scans, of a client that leaves',
  async run(target) {
    const picture = await manyScans(3_000);
    const leaving = new AbortController();
    const left = Array.from({ length: 8 }, () =>
      fetch(new URL('/predict', target.endpoints.inference), {
        method: 'POST',
        headers: JSON_TYPE,
        body: predict([picture]),
        signal: leaving.signal,
      }).catch(() => {}),
    );
    setTimeout(() => leaving.abort(), 200);
    const good = predict([target.jpeg]);
    // A request that gets 429 or 503 because of another attack is retried.
    await target.until('an answer to a good picture', async () => {
      const { status, text } = await ask(target, 'inference', '/predict', JSON_TYPE, good);
      if (status !== 200 && status !== 429)
        throw new Error(`a good picture: answered with ${status}: ${text}`);
      return status === 200;
    });
    await Promise.all(left);
  },
};

const overload: Attack = {
  name: '128 requests of 25 pictures at once',
  async run(target) {
    const body = predict(Array(25).fill(target.jpeg));
    const began = performance.now();
    await ask(target, 'inference', '/predict', JSON_TYPE, body);
    const alone = performance.now() - began;
    const ended = Array.from({ length: 128 }, () =>
      ask(target, 'inference', '/predict', { ...JSON_TYPE, 'x-request-timeout-ms': '3000' }, body).catch(
        () => undefined,
      ),
    );
    const workerData = { url: new URL('/health', target.endpoints.inference).href, ms: 3_000 };
    const probing = new Worker(new URL('../../support/probe.ts', import.meta.url), { workerData });
    const [took] = await once(probing, 'message');
    await Promise.all(ended);
    const slowest = Math.max(...(took as number[]));
    if (slowest > Math.max(PATIENCE.ms, PATIENCE.requests * alone))
      throw new Error(`/health answered after ${Math.round(slowest)} ms, a request alone after ${alone}`);
  },
};

const clips: Attack = {
  name: '60 times the same clip, and 60 clips that nobody waits for',
  async run(target) {
    const path = (at: number) => `/api/streams/franck/clips/${at}.webp`;
    const now = Date.now() - 5_000;
    const same = Array.from({ length: 60 }, () => ask(target, 'console', path(now)));
    const leaving = AbortSignal.timeout(300);
    for (let at = 1; at <= 60; at++) {
      const url = new URL(path(now - 1_000 * at), target.endpoints.console);
      void fetch(url, { signal: leaving }).catch(() => {});
    }
    await mustAnswer(target, 'console', 200, '/health of the console', '/health');
    const unlike = (await Promise.all(same)).find(({ status }) => ![200, 404, 503].includes(status));
    if (unlike) throw new Error(`a clip is answered with ${unlike.status}: ${unlike.text}`);
  },
};

/** Valid pictures with a few changed bytes: each gets its own result, and no other request waits long. */
function madeUpPictures(random: Random, count: number): Attack {
  return {
    name: `${count} damaged pictures`,
    async run(target) {
      for (let left = count; left > 0; left -= 25) {
        const pictures = Array.from({ length: Math.min(left, 25) }, () => {
          const picture = Buffer.from(target.jpeg);
          for (let times = random.integer(1, 6); times > 0; times--)
            picture[random.integer(2, picture.length - 1)] = random.integer(0, 255);
          return picture;
        });
        const { status } = await ask(target, 'inference', '/predict', JSON_TYPE, predict(pictures));
        if (status !== 200 && status !== 429) throw new Error(`they are answered with ${status}`);
      }
    },
  };
}
