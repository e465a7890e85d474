import { setInterval as every } from 'node:timers/promises';
import { type Kafka, orderedProducer } from '@video-pipeline/kafka';
import { kafkaSend } from '../../ingest-host/src/kafka-send.ts';
import { Publisher } from '../../ingest-host/src/publisher.ts';

const STREAMS = Array.from({ length: 8 }, (_, index) => `probe-${index}`);
const EVERY_MS = 200;
const JPEG = Buffer.alloc(64);
export const PROBE_SESSION = 'probe';

/** How long a frame waited for the acknowledgement of Kafka. Times are those of `performance.now`. */
export interface Wait {
  stream: string;
  offered: number;
  acknowledged: number;
}

/** Streams on all partitions, published as by ingest, to measure how long each frame waits for Kafka. */
export function startProbe(kafka: Kafka, topic: string) {
  const waits: Wait[] = [];
  let dropped = 0;
  const producer = orderedProducer(kafka, { idempotent: true });
  const { send, laneOf } = kafkaSend(producer, topic);
  const publisher = new Publisher(
    send,
    {
      published(frames) {
        const acknowledged = performance.now();
        for (const { streamId, capturedAt } of frames)
          waits.push({ stream: streamId, offered: capturedAt - performance.timeOrigin, acknowledged });
      },
      dropped(frames) {
        dropped += frames.length;
      },
      failed() {},
    },
    { bufferMs: 60_000, bufferBytes: 64_000_000, laneOf },
  );
  const stopping = new AbortController();
  const running = (async () => {
    let frameNumber = 0;
    for await (const _ of every(EVERY_MS, undefined, { signal: stopping.signal })) {
      const capturedAt = Math.round(performance.timeOrigin + performance.now());
      const frame = { session: PROBE_SESSION, frameNumber: frameNumber++, width: 1, height: 1, jpeg: JPEG };
      for (const streamId of STREAMS) publisher.offer({ ...frame, streamId, capturedAt });
    }
  })().catch(() => {});
  return {
    waits,
    /** Ends without waiting for Kafka. */
    cancel: () => stopping.abort(),
    /** Resolves once Kafka has all frames. @returns their number by `stream/session` */
    async stop(): Promise<Map<string, number>> {
      stopping.abort();
      await running;
      await publisher.flush();
      await producer.disconnect();
      if (dropped > 0) throw new Error(`the probe dropped ${dropped} frames`);
      const counts = Map.groupBy(waits, ({ stream }) => `${stream}/${PROBE_SESSION}`);
      return new Map(Array.from(counts, ([name, frames]) => [name, frames.length]));
    },
  };
}

/** The longest wait of each stream for a frame that was offered within a time range, milliseconds. */
export function longestWaits(waits: readonly Wait[], from: number, to: number): number[] {
  const within = waits.filter(({ offered }) => offered >= from && offered <= to);
  const byStream = Map.groupBy(within, ({ stream }) => stream);
  return Array.from(byStream.values(), (ofStream) =>
    ofStream.reduce((most, { offered, acknowledged }) => Math.max(most, acknowledged - offered), 0),
  );
}

/** `p50 12, p99 340, longest 980` of milliseconds. */
export function spread(milliseconds: readonly number[]): string {
  const sorted = milliseconds.toSorted((one, other) => one - other);
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, longest ${at(1)}`;
}
