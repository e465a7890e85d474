import { readBinaryRequest } from '../support/fake-server.ts';
import type { Exchange } from './fault-proxy.ts';

/** Stands behind the JPEG of a frame in which {@link addCrowds} sees a crowd; decoders stop before it. */
export const CROWD_MARK = Buffer.from('a crowd');
const CROWD = Array.from({ length: 10_000 }, (_, index) => ({
  class_id: 0,
  class_name: 'cell',
  confidence: 0.9,
  bbox: [index % 300, index % 100, (index % 300) + 10, (index % 100) + 10],
}));

/** The server's answer with 10,000 objects in the frames that bear the mark, each time they are asked for. */
export function addCrowds(exchange: Exchange): Buffer | undefined {
  if (exchange.answer.status !== 200 || !exchange.body.includes(CROWD_MARK)) return undefined;
  const { jpegs } = readBinaryRequest(exchange, Number(exchange.headers['inference-header-content-length']));
  return changeItems(exchange, (items) =>
    items.map((item, index) => {
      if (!jpegs[index]?.subarray(-CROWD_MARK.length).equals(CROWD_MARK)) return item;
      return JSON.stringify({ ...JSON.parse(item), detections: CROWD });
    }),
  );
}

/** The answer without its last result. */
export function dropResult(exchange: Exchange): Buffer {
  return changeItems(exchange, (items) => items.slice(0, -1));
}

/** The answer with its results in another order. */
export function turnResults(exchange: Exchange): Buffer {
  return changeItems(exchange, (items) => items.toReversed());
}

function changeItems({ answer }: Exchange, change: (items: string[]) => string[]): Buffer {
  if (answer.status !== 200) return answer.body;
  const json = JSON.parse(answer.body.toString());
  const [output] = json.outputs;
  const data = change(output.data);
  return Buffer.from(JSON.stringify({ ...json, outputs: [{ ...output, data, shape: [data.length] }] }));
}
