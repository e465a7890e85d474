import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerAsCamera, cameraAnswers } from '../../support/camera-attacks.ts';
import type { Target } from '../target.ts';
import type { Attack, Part } from './part.ts';

const NAMES = Object.keys(cameraAnswers);
const idOf = (index: number) => `camera-${index}`;

const without: Attack = {
  name: `${NAMES.length} HTTP cameras that send without bounds, at once`,
  async run(target) {
    const server = createServer((request, response) => answerAsCamera(request.url, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      for (const index of NAMES.keys())
        await change(target, 'POST', '', { id: idOf(index), url: `http://127.0.0.1:${port}/${index}` });
      // A retried camera may get another error. So each error is expected once, and not all at the same time.
      const unsaid = new Map(NAMES.map((name, index) => [name, idOf(index)]));
      let missing: string[] = [];
      const allSaid = async () => {
        const streams = await target.ingest();
        for (const [name, id] of unsaid)
          if (cameraAnswers[name]?.[1].test(streams[id]?.lastError ?? '')) unsaid.delete(name);
        missing = [...unsaid].map(([name, id]) => `${name} (${streams[id]?.lastError})`);
        return unsaid.size === 0;
      };
      await target.until('what each sent, said of it', allSaid).catch((error) => {
        throw new Error(`${error.message}; not of: ${missing.join(', ')}`);
      });
    } finally {
      for (const index of NAMES.keys()) await change(target, 'DELETE', `/${idOf(index)}`);
      server.closeAllConnections();
      server.close();
    }
  },
};

/** A camera's URL is trusted, and its bytes are not: each is disconnected, with an error about its bytes. */
export const cameras: Part = { name: 'cameras', attacks: () => [without] };

/** Adds a camera to the running pipeline, or removes it. */
async function change({ endpoints }: Target, method: string, path: string, body?: object): Promise<void> {
  const { status } = await fetch(`${endpoints.console}/api/cameras${path}`, {
    method,
    headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (status !== 200) throw new Error(`the console answers ${method} of a camera with ${status}`);
}
