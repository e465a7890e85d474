import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { writeColourModel } from '../../test/colour-model.ts';
import { heads } from '../heads/index.ts';
import { readModelFile } from '../model-file.ts';
import { createOnnxruntimeSession } from '../onnxruntime-session.ts';
import { createOpenvinoSession } from './session.ts';
import { isOpenvinoCached, openvinoLibraries } from './wheel.ts';

const path = join(tmpdir(), `openvino-${process.pid}.onnx`);
afterAll(() => rm(path, { force: true }));

// Where it has been fetched: `npm run model -- --device openvino` does so.
test.skipIf(!isOpenvinoCached()).each([1, 3])(
  'OpenVINO gives the outputs of onnxruntime in f32, with %i pictures at once, for any size',
  async (batch) => {
    await writeColourModel(path);
    const { onnx, head, pool, close } = await readModelFile(path);
    const openvino = createOpenvinoSession({ libraries: await openvinoLibraries(), onnx, precision: 'f32' });
    const onnxruntime = await createOnnxruntimeSession(onnx, ['cpu']);
    await Promise.all([pool.close(), close()]);
    for (const [height, width] of [
      [32, 64],
      [64, 64],
      [32, 64],
    ] as const) {
      const frames = Uint8Array.from({ length: batch * height * width * 3 }, (_, at) => (at * 7919) & 255);
      const dims = [batch, height, width, 3] as const;
      const [ours, reference] = [await openvino.run(frames, dims), await onnxruntime.run(frames, dims)];
      expect(ours.map(({ name, dims }) => [name, dims])).toEqual(
        reference.map(({ name, dims }) => [name, dims]),
      );
      for (const [index, { data }] of ours.entries())
        for (const [at, value] of data.entries())
          expect(value).toBeCloseTo(reference[index]?.data[at] ?? Number.NaN, 4);
      const options = { threshold: 0.2, inputWidth: width, inputHeight: height };
      expect(heads[head].decode(ours, 0, options).length).toBe(
        heads[head].decode(reference, 0, options).length,
      );
    }
  },
);

test.skipIf(!isOpenvinoCached())(
  'a model that OpenVINO can not load is an error with its message',
  async () => {
    const libraries = await openvinoLibraries();
    const onnx = join(tmpdir(), 'absent.onnx');
    expect(() => createOpenvinoSession({ libraries, onnx, precision: 'f32' })).toThrow(/^OpenVINO: /);
  },
);
