import { readBinaryRequest } from '../support/fake-server.ts';
import type { Exchange } from './fault-proxy.ts';

/** A mark after the JPEG of a frame for which {@link addCrowds} adds a crowd. Decoders stop before the mark. */
export const CROWD_MARK = Buffer.from('a crowd');
const CROWD = Array.from({ length: 10_000 }, (_, index) => ({
  class_id: 0,
  class_name: 'cell',
  confidence: 0.9,
  bbox: [index % 300, index % 100, (index % 300) + 10, (index % 100) + 10],
}));

/** Whether a request is for detections. A client that got 'no such model' uses `/predict` from then on. */
export const asksForDetections = (path: string) => /\/(infer|predict)$/.test(path);

/** The server's response with 10,000 objects for each frame with the mark. */
export function addCrowds(exchange: Exchange): Buffer | undefined {
  if (exchange.answer.status !== 200 || !asksForDetections(exchange.path)) return undefined;
  const isCrowd = jpegsOf(exchange).map((jpeg) => jpeg.subarray(-CROWD_MARK.length).equals(CROWD_MARK));
  if (!isCrowd.includes(true)) return undefined;
  return changeItems(exchange, (items) =>
    items.map((item, index) =>
      isCrowd[index] ? JSON.stringify({ ...JSON.parse(item), detections: CROWD }) : item,
    ),
  );
}

function jpegsOf(exchange: Exchange): Buffer[] {
  const { path, headers, body } = exchange;
  if (!path.endsWith('/predict'))
    return readBinaryRequest(exchange, Number(headers['inference-header-content-length'])).jpegs;
  const { frames } = JSON.parse(body.toString()) as { frames: { frame_data: string }[] };
  return frames.map(({ frame_data }) => Buffer.from(frame_data, 'base64'));
}

/** The response without its last result. */
export function dropResult(exchange: Exchange): Buffer {
  return changeItems(exchange, (items) => items.slice(0, -1));
}

/** The response with its results in another order. */
export function turnResults(exchange: Exchange): Buffer {
  return changeItems(exchange, (items) => items.toReversed());
}

function changeItems({ answer }: Exchange, change: (items: string[]) => string[]): Buffer {
  if (answer.status !== 200) return answer.body;
  const json = JSON.parse(answer.body.toString());
  if (json.results) {
    const results = change(json.results.map((one: object) => JSON.stringify(one)));
    return Buffer.from(JSON.stringify({ ...json, results: results.map((one) => JSON.parse(one)) }));
  }
  const [output] = json.outputs;
  const data = change(output.data);
  return Buffer.from(JSON.stringify({ ...json, outputs: [{ ...output, data, shape: [data.length] }] }));
}
