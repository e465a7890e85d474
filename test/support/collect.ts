import { decodeFrame, type EncodedRecord, type Frame } from '@video-pipeline/frame';
import { Ingest, type IngestOptions } from '@video-pipeline/ingest-host';

/** Ingest's log lines, for a test to check. */
export interface Entry {
  level: string;
  message: string;
  extra: Record<string, unknown>;
}

/** An ingest that publishes to an array instead of Kafka: `frames` are decoded from the acknowledged records. */
export function collectingIngest(
  options: Partial<IngestOptions> = {},
  send: (records: EncodedRecord[]) => Promise<void> = async () => {},
) {
  const frames: Frame[] = [];
  const entries: Entry[] = [];
  const write = (level: string) => (message: string, extra: Record<string, unknown>) =>
    void entries.push({ level, message, extra });
  const ingest = new Ingest(
    async (records) => {
      await send(records);
      for (const { key, value, headers } of records) frames.push(decodeFrame({ key, value, headers }));
    },
    {
      maxFrameBytes: 160_000,
      bufferSeconds: 10,
      bufferBytes: 64_000_000,
      stallSeconds: 5,
      log: { info: write('info'), warn: write('warn'), error: write('error') },
      ...options,
    },
  );
  const of = (streamId: string) => frames.filter((frame) => frame.streamId === streamId);
  return { ingest, frames, of, entries };
}

/** One stream with the usual settings. */
export function stream(id: string, url: string, frameRate = 10) {
  return { id, url, frameRate, quality: 85, transport: 'tcp' as const };
}
