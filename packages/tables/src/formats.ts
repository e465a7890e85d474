import { surePoints } from '@video-pipeline/frame/keypoints';
import { areaOf } from '@video-pipeline/scene/zones';
import type { FoundFrame } from './found-frame.ts';
import { Spool } from './spool.ts';

export const TEXTS = ['ndjson', 'csv', 'coco'] as const;
export type TextFormat = (typeof TEXTS)[number];

type Frames = AsyncIterable<FoundFrame>;
type Text = AsyncGenerator<string | Buffer>;

/** Frames as text, in pieces, since the text may have any length. */
export const textOf: Record<TextFormat, (frames: Frames) => Text> = { ndjson, csv, coco };

/** One frame a line, as annotate stores it. */
async function* ndjson(frames: Frames): Text {
  for await (const frame of frames) yield `${JSON.stringify(frame)}\n`;
}

const CSV_COLUMNS =
  'stream_id,session,frame_number,captured_at,class_id,class_name,confidence,x1,y1,x2,y2,track_id,annotated_key';

/** One detection a line, as in RFC 4180. A frame without detections has one line with empty fields. */
async function* csv(frames: Frames): Text {
  yield `${CSV_COLUMNS}\r\n`;
  for await (const frame of frames) yield csvLines(frame);
}

function csvLines({ stream_id, session, frame_number, captured_at, annotated_key, detections }: FoundFrame) {
  const time = new Date(captured_at).toISOString();
  const none = ['', '', '', '', '', '', '', ''];
  const rows = detections.map(({ class_id, class_name, confidence, bbox, track_id = '' }) => [
    class_id,
    class_name,
    confidence,
    ...bbox,
    track_id,
  ]);
  return (rows.length > 0 ? rows : [none])
    .map((row) => [stream_id, session, frame_number, time, ...row, annotated_key].map(csvField).join())
    .map((line) => `${line}\r\n`)
    .join('');
}

/**
 * A spreadsheet takes a text that begins with one of these for a formula:
 * https://owasp.org/www-community/attacks/CSV_Injection
 */
const FORMULA = /^[=+\-@\t\r\n]/;

function csvField(value: string | number): string {
  const text = typeof value === 'string' && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The parts of COCO's file: this, the images, the next text, the annotations, the categories. */
export const COCO_IMAGES = '{"info":{"description":"video-pipeline"},"licenses":[],"images":[';
export const COCO_ANNOTATIONS = '],"annotations":[';

/** The annotations come after all images: until then they wait on the disk. */
async function* coco(frames: Frames): Text {
  await using annotations = await Spool.open();
  const entries = new CocoEntries();
  yield COCO_IMAGES;
  for await (const frame of frames) {
    const text = entries.of(frame, frame.annotated_key);
    await annotations.write(text.annotations);
    yield text.image;
  }
  yield COCO_ANNOTATIONS;
  yield* annotations.read();
  yield entries.categories();
}

/**
 * COCO's object detection: https://cocodataset.org/#format-data. Each detection keeps its score, and its track as
 * `track_id`. An outline becomes its `segmentation`, key points become its `keypoints`. Categories are numbered from 1, in
 * the order in which their classes were first seen.
 */
export class CocoEntries {
  readonly #categories = new Map<string, number>();
  #images = 0;
  #annotations = 0;

  /** Entries of a frame. Each has a comma before it unless it is the first. @param file_name of the frame's picture */
  of(
    { width, height, captured_at, stream_id, frame_number, detections }: FoundFrame,
    file_name: string,
  ): { image: string; annotations: string } {
    const id = ++this.#images;
    const annotations = detections.map((detection) => {
      const entry = JSON.stringify(this.#annotation(detection, id));
      return this.#annotations > 1 ? `,${entry}` : entry;
    });
    const date_captured = new Date(captured_at).toISOString();
    const image = { id, file_name, width, height, date_captured, stream_id, frame_number };
    return { image: `${id > 1 ? ',' : ''}${JSON.stringify(image)}`, annotations: annotations.join('') };
  }

  /** The end of the file. */
  categories(): string {
    const named = [...this.#categories].map(([name, id]) => ({ id, name, supercategory: '' }));
    return `],"categories":${JSON.stringify(named)}}\n`;
  }

  #annotation(
    { class_name, confidence, bbox, polygon, keypoints, track_id }: FoundFrame['detections'][number],
    image_id: number,
  ) {
    const { size } = this.#categories;
    const category_id = this.#categories.get(class_name) ?? size + 1;
    if (category_id > size) this.#categories.set(class_name, category_id);
    const [x1, y1, x2, y2] = bbox;
    const points = keypoints && labelledPoints(keypoints);
    return {
      id: ++this.#annotations,
      image_id,
      category_id,
      bbox: [x1, y1, x2 - x1, y2 - y1],
      area: polygon ? Math.round(areaOf(polygon) * 100) / 100 : (x2 - x1) * (y2 - y1),
      iscrowd: 0,
      ...(polygon && { segmentation: [polygon.flat()] }),
      ...(points && {
        keypoints: points.flat(),
        num_keypoints: points.filter(([, , label]) => label === VISIBLE).length,
      }),
      score: confidence,
      ...(track_id === undefined ? {} : { track_id }),
    };
  }
}

/** COCO's label of a key point that is visible; 0 is that of one that is not labelled. */
const VISIBLE = 2;

/** Key points for training: x, y and label. One that is not sure is not labelled, and is at 0, 0. */
export function labelledPoints(keypoints: readonly (readonly number[])[]): [number, number, number][] {
  return surePoints(keypoints).map((point) => (point ? [...point, VISIBLE] : [0, 0, 0]));
}
