export { Ingest, type IngestOptions } from './ingest.ts';
export { probe } from './probe.ts';
export type { Send } from './publisher.ts';
export { parseStreams, type StreamSpec } from './streams.ts';
