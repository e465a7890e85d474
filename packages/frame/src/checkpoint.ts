import type { EncodedRecord, ReceivedRecord } from './kafka-record.ts';

/** A stage's state for one stream, after a record. The stream's last frame in a batch carries it. */
export interface Checkpoint {
  /** The topic and partition that the stage read, `<topic>-<partition>`. */
  source: string;
  /** The state includes the stream's records up to this offset of the source. */
  offset: number;
  /** Opaque text. */
  state: string;
}

export function addCheckpoint(record: EncodedRecord, { source, offset, state }: Checkpoint): void {
  Object.assign(record.headers, { checkpoint_at: `${source}:${offset}`, checkpoint: state });
}

/** Reads a record's checkpoint. Undefined if there is none, or a malformed one. */
export function checkpointOf({ headers = {} }: ReceivedRecord): Checkpoint | undefined {
  const { checkpoint_at: at, checkpoint: state } = headers;
  const [, source, offset] = /^(.+):(\d+)$/.exec(String(at)) ?? [];
  if (!source || state === undefined) return undefined;
  return { source, offset: Number(offset), state: state.toString() };
}

export function withoutCheckpoint<Value>(headers: Readonly<Record<string, Value>>): Record<string, Value> {
  const { checkpoint: _state, checkpoint_at: _at, ...rest } = headers;
  return rest;
}
