import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import reference from '../../../test/models/reference/heads.json' with { type: 'json' };
import {
  decodeSelected,
  type Head,
  type HeadName,
  heads,
  type OutputTensor,
  suppress,
} from '../heads/index.ts';
import '../no-telemetry.ts';
import { GraphBuilder } from './graph-builder.ts';
import { decodeModel, encodeModel } from './schema.ts';
import { selectCandidates } from './select-candidates.ts';

const { inputWidth, inputHeight, threshold, iou } = reference;
const options = { threshold, inputWidth, inputHeight };

function toTensor({ name, dims, data }: { name: string; dims: number[]; data: string }): OutputTensor {
  return { name, dims, data: new Float32Array(new Uint8Array(Buffer.from(data, 'base64')).buffer) };
}

/** What a model that gives `output` becomes with the choice of candidates inside, run by onnxruntime. */
async function select(head: Head, output: OutputTensor, most: number): Promise<OutputTensor> {
  const g = new GraphBuilder();
  const raw = g.input('raw', 'float32', ['batch', 'rows', 'columns']);
  g.output('output0', raw, ['batch', 'rows', 'columns']);
  const model = decodeModel(g.encode('raw', {}));
  if (!head.anchors) throw new Error('the head has no anchors');
  expect(selectCandidates(model, head.anchors, most)).toBe(true);
  const session = await InferenceSession.create(encodeModel(model));
  const results = await session.run({ raw: new Tensor('float32', output.data, output.dims) });
  const [name = ''] = session.outputNames;
  const { dims, data } = results[name] as Tensor;
  return { name, dims, data: data as Float32Array };
}

const byScore = <Item extends { score: number; classId: number }>(items: readonly Item[]) =>
  items.toSorted((a, b) => b.score - a.score || a.classId - b.classId);

const withAnchors = reference.cases.filter(({ head }) => 'anchors' in heads[head as HeadName]);

test('each family with anchors has a reference', () => {
  expect(withAnchors.map(({ head }) => head)).toEqual(expect.arrayContaining(['yolov5', 'yolov8', 'yolox']));
});

describe.each(withAnchors.map(({ head, outputs }) => [head, outputs] as const))(
  'the head %s',
  (name, outputs) => {
    const head: Head = heads[name as HeadName];
    const [output] = outputs.map(toTensor) as [OutputTensor];
    const decode = (selected: OutputTensor, image: number, most: number) => {
      if (!head.anchors) throw new Error('the head has no anchors');
      return decodeSelected(selected, image, head.anchors, options, most);
    };

    test('candidates selected in the graph equal those selected on the host', async () => {
      const selected = await select(head, output, 1000);
      for (const image of [0, 1]) {
        const expected = byScore(head.decode([output], image, options));
        const { candidates, isCut } = decode(selected, image, 1000);
        expect(isCut).toBe(false);
        expect(candidates).toHaveLength(expected.length);
        for (const [index, one] of byScore(candidates).entries()) {
          expect(one.classId).toBe(expected[index]?.classId);
          expect(one.score).toBeCloseTo(expected[index]?.score ?? Number.NaN, 6);
          for (const [side, value] of one.box.entries())
            expect(value).toBeCloseTo(expected[index]?.box[side] ?? Number.NaN, 3);
        }
      }
    });

    test('the best candidates are kept when there are too many, and the cut is reported', async () => {
      const all = byScore(head.decode([output], 0, options));
      const most = all.length - 2;
      const { candidates, isCut } = decode(await select(head, output, most), 0, most);
      expect(isCut).toBe(true);
      expect(candidates.map(({ score }) => score.toFixed(5))).toEqual(
        all.slice(0, most).map(({ score }) => score.toFixed(5)),
      );
      // What is kept in the end begins alike.
      const suppression = { iou, classAgnostic: false, maxDetections: 3 };
      expect(suppress(candidates, suppression).map(({ classId }) => classId)).toEqual(
        suppress(all, suppression).map(({ classId }) => classId),
      );
    });

    test('without any valid score there is no detection, in the graph and on the host', async () => {
      const [, rows = 0, columns = 0] = output.dims;
      const { isChannelsFirst } = head.anchors ?? {};
      const isBox = (at: number) => (isChannelsFirst ? Math.floor(at / columns) % rows : at % columns) < 4;
      const data = output.data.map((value, at) => (isBox(at) ? value : Number.NaN));
      const broken = { ...output, data };
      expect(head.decode([broken], 0, options)).toEqual([]);
      expect(decode(await select(head, broken, 1000), 0, 1000).candidates).toEqual([]);
    });

    test('a NaN score is no detection, and suppresses none, in the graph and on the host', async () => {
      const broken = { ...output, data: Float32Array.from(output.data) };
      const [, rows = 0, columns = 0] = output.dims;
      const anchors = head.anchors?.isChannelsFirst ? columns : rows;
      const values = head.anchors?.isChannelsFirst ? rows : columns;
      const first = head.anchors?.hasObjectness ? 5 : 4;
      for (let anchor = 0; anchor < anchors; anchor++) {
        // The first class of each anchor.
        const at = head.anchors?.isChannelsFirst ? first * columns + anchor : anchor * values + first;
        broken.data[at] = Number.NaN;
      }
      const expected = byScore(head.decode([output], 0, options)).filter(({ classId }) => classId !== 0);
      expect(expected.length).toBeGreaterThan(0);
      const outside = byScore(head.decode([broken], 0, options));
      const inside = byScore(decode(await select(head, broken, 1000), 0, 1000).candidates);
      for (const found of [outside, inside]) {
        expect(found.every(({ score }) => Number.isFinite(score))).toBe(true);
        expect(found.length).toBeGreaterThanOrEqual(expected.length);
      }
      expect(inside.map(({ score }) => score.toFixed(5))).toEqual(
        outside.map(({ score }) => score.toFixed(5)),
      );
    });
  },
);

test('a model with an old opset is not changed', () => {
  const g = new GraphBuilder();
  g.output('output0', g.input('raw', 'float32', [1, 8, 9]), [1, 8, 9]);
  const model = decodeModel(g.encode('raw', {}));
  model.opsetImport = [{ domain: '', version: 11 }];
  const before = encodeModel(model);
  const { anchors }: Head = heads.yolov8;
  expect(anchors && selectCandidates(model, anchors, 10)).toBe(false);
  expect(Buffer.compare(encodeModel(model), before)).toBe(0);
});
