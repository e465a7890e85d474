import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Health, StreamStatus } from './api.ts';
import type { LiveFrames } from './live.ts';

const FLUSH_MS = 100;
const HEALTH_MS = 1_000;
const MAX_CLIENTS = 100;
/** Most waiting frames of a stream: two batches. Frames arrive in batches, and the page plays them one by one. */
const MAX_PENDING = 50;
/** Most waiting characters for one browser. Beyond that, they are dropped. */
const MAX_PENDING_LENGTH = 4 * 1024 ** 2;

interface Client {
  response: ServerResponse;
  stream: string | undefined;
  /** The newest frames of each stream that were not sent to the client yet, as JSON, oldest first. */
  pending: Map<string, string[]>;
  length: number;
  isBlocked: boolean;
  /** The last state of the streams that was sent to it, as JSON. */
  streams: string;
}

export type Events = ReturnType<typeof sendEvents>;

/**
 * Sends new frames and the pipeline's health to browsers, as server-sent events. A browser that reads slowly gets fewer
 * frames, always the newest ones. Its queue is limited, and it delays no other browser.
 */
export function sendEvents(live: LiveFrames, health: () => Health, streams: () => StreamStatus[]) {
  const clients = new Set<Client>();

  function note(streamId: string, json: string): void {
    for (const client of clients) {
      const { stream, pending } = client;
      if (stream !== undefined && stream !== streamId) continue;
      client.length += json.length;
      if (client.length > MAX_PENDING_LENGTH) {
        pending.clear();
        client.length = json.length;
      }
      const frames = pending.get(streamId) ?? [];
      frames.push(json);
      if (frames.length > MAX_PENDING) client.length -= frames.shift()?.length ?? 0;
      pending.set(streamId, frames);
    }
  }
  function sendHealth(): void {
    if (clients.size === 0) return;
    const [healthNow, streamsNow] = [JSON.stringify(health()), JSON.stringify(streams())];
    for (const client of clients) {
      if (client.isBlocked) continue;
      write(client, 'health', healthNow);
      sendStreams(client, streamsNow);
    }
  }

  const unsubscribe = live.subscribe(note);
  const timers = [setInterval(() => clients.forEach(flush), FLUSH_MS), setInterval(sendHealth, HEALTH_MS)];
  return {
    followers: () => clients.size,
    isFull: () => clients.size >= MAX_CLIENTS,
    /** Takes over the response. @param stream the only stream to send; left out: all */
    connect(response: ServerResponse, headers: OutgoingHttpHeaders, stream?: string): void {
      response.writeHead(200, headers);
      const newest = live.newest().filter((frame) => stream === undefined || frame.stream_id === stream);
      const pending = new Map(newest.map((frame) => [frame.stream_id, [JSON.stringify(frame)]]));
      const client: Client = { response, stream, pending, length: 0, isBlocked: false, streams: '' };
      clients.add(client);
      response.on('drain', () => {
        client.isBlocked = false;
      });
      response.on('close', () => clients.delete(client));
      write(client, 'health', JSON.stringify(health()));
      // Frames come before the list of streams, so that a tile begins with its first picture.
      flush(client);
      sendStreams(client, JSON.stringify(streams()));
    },
    close(): void {
      unsubscribe();
      for (const timer of timers) clearInterval(timer);
      for (const { response } of clients) response.end();
    },
  };
}

function flush(client: Client): void {
  if (client.isBlocked || client.pending.size === 0) return;
  write(client, 'frames', `[${[...client.pending.values()].flat().join(',')}]`);
  client.pending.clear();
  client.length = 0;
}

function sendStreams(client: Client, streams: string): void {
  if (streams === client.streams) return;
  client.streams = streams;
  write(client, 'streams', streams);
}

function write(client: Client, event: string, data: string): void {
  client.isBlocked = !client.response.write(`event: ${event}\ndata: ${data}\n\n`);
}
