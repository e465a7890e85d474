import { readFile } from 'node:fs/promises';
import { hourFolder } from '@video-pipeline/frame';
import { Scene, type SceneConfig, type SceneEvent, type SceneFrame } from '@video-pipeline/scene';
import { ifThere, objectsOfHours, type Reader } from '@video-pipeline/storage';
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
}

/** Lines of text, in the order in which annotate wrote them. */
type Texts = AsyncIterable<{ text: string; where: string }>;

interface Replayed {
  frames: number;
  events: SceneEvent[];
  /** When the last frame was captured, epoch ms; `from` without any. */
  until: number;
}

/**
 * Runs stored detections through a scene, in their order, as `detect` would have done with it.
 * @throws RangeError naming file and line of a text that is no stored detection
 * @example
 * const day = { streamId: 'gate', from: Date.UTC(2026, 10, 25), to: Date.UTC(2026, 10, 26) };
 * const { events } = await replayScene(storedDetections(bucket, day), { ...day, config, prefix: 'annotated' });
 */
export async function replayScene(
  texts: Texts,
  { streamId, config, from, to, prefix }: SceneReplay,
): Promise<Replayed> {
  const scene = new Scene(streamId, config, { prefix });
  let seen = new Set<string>();
  let [hour, frames] = ['', 0];
  const events: SceneEvent[] = [];
  let until = from;
  for await (const { text, where } of texts) {
    for (const frame of framesIn(text, where, streamId)) {
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

function framesIn(text: string, where: string, streamId: string): SceneFrame[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const { data } = lineSchema.safeParse(parseJson(line));
    if (!data) throw new RangeError(`${where}, line ${index + 1}: not a line that annotate wrote`);
    if (data.stream_id !== streamId) return [];
    const { session, frame_number, captured_at, width, height, detections } = data;
    return [{ session, frameNumber: frame_number, capturedAt: captured_at, width, height, detections }];
  });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const READS = 16;

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
  let hour: string[] = [];
  for await (const { key } of objectsOfHours(bucket, `detections/${streamId}/`, { from, to })) {
    if (signal?.aborted) break;
    if (folderOf(key) !== folderOf(hour[0] ?? key)) {
      yield* textsOf(bucket, hour, signal);
      hour = [];
    }
    hour.push(key);
  }
  yield* textsOf(bucket, hour, signal);
}

const folderOf = (key: string) => key.slice(0, key.lastIndexOf('/'));

/** The objects of an hour, in the order of their offsets. */
async function* textsOf(bucket: Reader, hour: readonly string[], signal: AbortSignal | undefined): Texts {
  const keys = hour.toSorted((a, b) => offsetOf(a) - offsetOf(b));
  // An object may expire after it was listed.
  const read = async (key: string) => ({ text: String((await ifThere(bucket.read(key))) ?? ''), where: key });
  for (let first = 0; first < keys.length; first += READS) {
    if (signal?.aborted) return;
    yield* await Promise.all(keys.slice(first, first + READS).map(read));
  }
}

/** Key order is not offset order, since the offsets in `<topic>-<partition>-<first offset>.ndjson` are not padded. */
function offsetOf(key: string): number {
  return Number(/-(\d+)\.ndjson$/.exec(key)?.[1] ?? 0);
}

/** Files of stored detections, in the order given. */
export async function* filesOf(paths: readonly string[]): Texts {
  for (const path of paths) yield { text: await readFile(path, 'utf8'), where: path };
}
