import { readFile } from 'node:fs/promises';
import { hourFolder } from '@video-pipeline/frame';
import { Scene, type SceneConfig, type SceneEvent, type SceneFrame } from '@video-pipeline/scene';
import {
  ifForeign,
  ifThere,
  type ListedObject,
  NotOursError,
  objectsOfHours,
  type Reader,
} from '@video-pipeline/storage';
import { z } from 'zod';

/** A line of stored NDJSON, as far as a scene needs it. */
const lineSchema = z.object({
  stream_id: z.string(),
  session: z.string(),
  frame_number: z.int(),
  captured_at: z.int(),
  width: z.int().positive(),
  height: z.int().positive(),
  detections: z.array(
    z.object({
      class_id: z.int(),
      class_name: z.string(),
      confidence: z.number(),
      bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]),
    }),
  ),
});

interface SceneReplay {
  streamId: string;
  config: SceneConfig;
  /** Frames captured from here on, epoch ms. */
  from: number;
  /** Frames captured before it, epoch ms. */
  to: number;
  /** Top folder of annotated frames, for the frames that prove an event. */
  prefix: string;
  /** Receives an error for each object or file that holds other lines than annotate's. They are skipped. */
  onForeign?: (error: NotOursError) => void;
}

/** Lines of text, or why they can't be read. */
type Text = { text: string | NotOursError; where: string };
/** In the order in which annotate wrote them. */
type Texts = AsyncIterable<Text>;

interface Replayed {
  frames: number;
  events: SceneEvent[];
  /** When the last frame was captured, epoch ms; `from` without any. */
  until: number;
}

/**
 * Runs stored detections through a scene, in their order, as `detect` would have done with it.
 * @example
 * const day = { streamId: 'gate', from: Date.UTC(2026, 10, 25), to: Date.UTC(2026, 10, 26) };
 * const { events } = await replayScene(storedDetections(bucket, day), { ...day, config, prefix: 'annotated' });
 */
export async function replayScene(
  texts: Texts,
  { streamId, config, from, to, prefix, onForeign = () => {} }: SceneReplay,
): Promise<Replayed> {
  const scene = new Scene(streamId, config, { prefix });
  let seen = new Set<string>();
  let [hour, frames] = ['', 0];
  const events: SceneEvent[] = [];
  let until = from;
  for await (const text of texts) {
    for (const frame of framesIn(text, streamId, onForeign)) {
      if (frame.capturedAt < from || frame.capturedAt >= to) continue;
      // A batch that was delivered twice may have left the same line in two objects of an hour.
      if (hourFolder(frame.capturedAt) !== hour) seen = new Set();
      hour = hourFolder(frame.capturedAt);
      const id = `${frame.session} ${frame.frameNumber}`;
      if (seen.has(id)) continue;
      seen.add(id);
      frames++;
      events.push(...scene.update(frame).events);
      until = frame.capturedAt;
    }
  }
  return { frames, events, until };
}

function framesIn(
  { text, where }: Text,
  streamId: string,
  onForeign: (error: NotOursError) => void,
): SceneFrame[] {
  if (text instanceof NotOursError) {
    onForeign(text);
    return [];
  }
  const foreign: number[] = [];
  const frames = text.split('\n').flatMap((line, index): SceneFrame[] => {
    if (line.trim() === '') return [];
    const { data } = lineSchema.safeParse(parseJson(line));
    if (!data) foreign.push(index + 1);
    if (data?.stream_id !== streamId) return [];
    const { session, frame_number, captured_at, width, height, detections } = data;
    return [{ session, frameNumber: frame_number, capturedAt: captured_at, width, height, detections }];
  });
  const more = foreign.length > SHOWN ? ` and ${foreign.length - SHOWN} more` : '';
  const problem = `has lines that annotate did not write: ${foreign.slice(0, SHOWN).join(', ')}${more}`;
  if (foreign.length > 0) onForeign(new NotOursError(where, problem));
  return frames;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const READS = 16;
/** Foreign lines of an object that are named. */
const SHOWN = 10;

/**
 * The stream's stored detections of all hours that overlap the time from `from` to `to`, epoch ms, `to` not included.
 * An object holds frames of one hour: that of its key.
 * @param signal ends the reading early
 */
export async function* storedDetections(
  bucket: Reader,
  { streamId, from, to }: Pick<SceneReplay, 'streamId' | 'from' | 'to'>,
  signal?: AbortSignal,
): Texts {
  let hour: ListedObject[] = [];
  for await (const object of objectsOfHours(bucket, `detections/${streamId}/`, { from, to })) {
    if (signal?.aborted) break;
    if (folderOf(object) !== folderOf(hour[0] ?? object)) {
      yield* textsOf(bucket, hour, signal);
      hour = [];
    }
    hour.push(object);
  }
  yield* textsOf(bucket, hour, signal);
}

const folderOf = ({ key }: ListedObject) => key.slice(0, key.lastIndexOf('/'));

/** The objects of an hour, in the order of their offsets. A stream may have moved from one partition to another. */
async function* textsOf(bucket: Reader, hour: ListedObject[], signal: AbortSignal | undefined): Texts {
  const objects = [...Map.groupBy(hour, ({ key }) => key.replace(/-\d+\.ndjson$/, '')).values()]
    .map((ofPartition) => ofPartition.sort((a, b) => offsetOf(a) - offsetOf(b)))
    .sort(([a], [b]) => (a?.stored ?? 0) - (b?.stored ?? 0))
    .flat();
  const read = async ({ key }: ListedObject) => {
    // An object may expire after it was listed.
    const bytes = await ifThere(bucket.read(key)).catch(ifForeign((error) => error));
    return { text: bytes instanceof NotOursError ? bytes : String(bytes ?? ''), where: key };
  };
  for (let first = 0; first < objects.length; first += READS) {
    if (signal?.aborted) return;
    yield* await Promise.all(objects.slice(first, first + READS).map(read));
  }
}

/** Key order is not offset order, since the offsets in `<topic>-<partition>-<first offset>.ndjson` are not padded. */
function offsetOf({ key }: ListedObject): number {
  return Number(/-(\d+)\.ndjson$/.exec(key)?.[1] ?? 0);
}

/** Files of stored detections, in the order given. */
export async function* filesOf(paths: readonly string[]): Texts {
  for (const path of paths) yield { text: await readFile(path, 'utf8'), where: path };
}
