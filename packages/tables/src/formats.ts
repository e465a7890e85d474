import type { FoundFrame } from './tables.ts';

/** Formats that are text. */
export const TEXTS = ['ndjson', 'csv', 'coco'] as const;
export type TextFormat = (typeof TEXTS)[number];

/** Gives the text of an export piece by piece, so that it may be of any length. */
export interface Exporter {
  begin(): string;
  frame(frame: FoundFrame): string;
  end(): string;
}

export function writer(format: TextFormat): Exporter {
  if (format === 'csv') return csv();
  return format === 'coco' ? coco() : ndjson;
}

/** One frame a line, as annotate stores it. */
const ndjson: Exporter = {
  begin: () => '',
  frame: (frame) => `${JSON.stringify(frame)}\n`,
  end: () => '',
};

const CSV_COLUMNS =
  'stream_id,session,frame_number,captured_at,class_id,class_name,confidence,x1,y1,x2,y2,track_id,annotated_key';

/** One detection a line, as RFC 4180 has it; a frame without any has a line without them. */
function csv(): Exporter {
  return {
    begin: () => `${CSV_COLUMNS}\r\n`,
    frame: ({ stream_id, session, frame_number, captured_at, annotated_key, detections }) => {
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
    },
    end: () => '',
  };
}

/** A spreadsheet would take what begins with one of these for a formula. */
const FORMULA = /^[=+@\t\r]|^-(?![\d.])/;

function csvField(value: string | number): string {
  const text = typeof value === 'string' && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * COCO's object detection: https://cocodataset.org/#format-data. Images are named by their keys in the bucket; the score
 * of each detection is kept, and the track as `track_id`. Categories are numbered as the classes were first seen, from 1.
 */
function coco(): Exporter {
  const categories = new Map<string, number>();
  const annotations: string[] = [];
  let images = 0;
  return {
    begin: () => '{"info":{"description":"video-pipeline"},"licenses":[],"images":[',
    frame({ annotated_key, width, height, captured_at, stream_id, frame_number, detections }) {
      const id = ++images;
      for (const { class_name, confidence, bbox, track_id } of detections) {
        if (!categories.has(class_name)) categories.set(class_name, categories.size + 1);
        const [x1, y1, x2, y2] = bbox;
        const box = [x1, y1, x2 - x1, y2 - y1];
        annotations.push(
          JSON.stringify({
            id: annotations.length + 1,
            image_id: id,
            category_id: categories.get(class_name),
            bbox: box,
            area: (x2 - x1) * (y2 - y1),
            iscrowd: 0,
            score: confidence,
            ...(track_id === undefined ? {} : { track_id }),
          }),
        );
      }
      const date_captured = new Date(captured_at).toISOString();
      const image = { id, file_name: annotated_key, width, height, date_captured, stream_id, frame_number };
      return `${id > 1 ? ',' : ''}${JSON.stringify(image)}`;
    },
    end() {
      const named = [...categories].map(([name, id]) => ({ id, name, supercategory: '' }));
      return `],"annotations":[${annotations.join()}],"categories":${JSON.stringify(named)}}\n`;
    },
  };
}
