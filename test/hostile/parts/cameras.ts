import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerAsCamera, cameraAnswers } from '../../support/camera-attacks.ts';
import type { Target } from '../target.ts';
import type { Attack, Part } from './part.ts';

/** HTTP cameras that send without bounds: each is let go, and what it sent is said of it. */
export const cameras: Part = {
  name: 'cameras',
  attacks: () => Object.entries(cameraAnswers).map(([name, [, said]], index) => camera(name, index, said)),
};

function camera(name: string, index: number, said: RegExp): Attack {
  return {
    name,
    async run(target) {
      const server = createServer((request, response) => answerAsCamera(request.url, response));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const id = `camera-${index}`;
      try {
        await change(target, 'POST', '', { id, url: `http://127.0.0.1:${port}/${index}` });
        await target.until(`${said} of ${id}`, async () => said.test(await errorOf(target, id)));
      } finally {
        await change(target, 'DELETE', `/${id}`);
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

/** Puts a camera into the running pipeline, or takes it out. */
async function change({ endpoints }: Target, method: string, path: string, body?: object): Promise<void> {
  const { status } = await fetch(`${endpoints.console}/api/cameras${path}`, {
    method,
    headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (status !== 200) throw new Error(`the console answers ${method} of a camera with ${status}`);
}

/** What ingest says of a stream. */
async function errorOf({ endpoints }: Target, id: string): Promise<string> {
  const health = await fetch(`${endpoints.health}/health`);
  const { streams } = (await health.json()) as { streams: Record<string, { lastError?: string }> };
  return streams[id]?.lastError ?? '';
}
