import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { cacheDir } from '@video-pipeline/assets';
import { openFile } from '../open-file.ts';
import { foreignKind } from './file-kind.ts';
import { decodeModel, encodeModel, type ModelProto, type TensorProto } from './schema.ts';

/** `TensorProto.DataLocation` */
const EXTERNAL = 1;
/** Smaller tensors stay in the graph: shapes, for example, which runtimes need while they read it. */
const MIN_MOVED = 4096;
/** Alignment of each tensor, so that a runtime can use it in the mapped file without a copy. */
const ALIGNMENT = 64;
/** Bytes that are hashed or copied at once. Between blocks the server handles other requests. */
const BLOCK = 8_388_608;
const WEIGHTS = 'weights';

type OnWeights = (file: string) => Promise<void>;

export type StoredModel = Awaited<ReturnType<typeof storeModel>>;

/**
 * Parses an ONNX file: its graph is in memory, and its weights are in a temporary file. Changed graphs are written
 * beside that file. Runtimes map the file: JavaScript never copies the weights, and later changes of the original have
 * no effect. Weights in other files beside the original, as torch writes them since 2.9, are copied too.
 * @param onWeights called with each file of external weights, before it is read
 * @throws Error when the file is not ONNX, or when external weights are missing or not beside the file
 */
export async function storeModel(path: string, onWeights: OnWeights = async () => {}) {
  const file = await readWhole(path);
  const model = parse(file);
  const folder = await scratchFolder();
  await using target = await open(join(folder, WEIGHTS), 'wx');
  try {
    const hash = createHash('sha256');
    for (const block of blocksOf(file)) {
      hash.update(block);
      await turn();
    }
    const read = (tensor: TensorProto) => readExternal(tensor, dirname(path), onWeights);
    const weights = await moveWeights(model, read, target, hash);
    const stored = encodeModel(model);
    // Frees the buffer at once. It is outside V8's heap, so that the garbage collector could free it too late.
    if (file.buffer instanceof ArrayBuffer) file.buffer.transfer(0);
    let written = 0;
    return {
      /** Changes with the content of the file and of its external weights. */
      version: hash.digest('hex').slice(0, 12),
      /** Bytes of the weights in the temporary file. */
      weights,
      /** A copy of the graph that may be changed; without the large weights. */
      get graph(): ModelProto {
        return decodeModel(stored);
      },
      /** Writes a graph beside its weights. @returns its path, valid until `close` */
      async write(graph: ModelProto): Promise<string> {
        const path = join(folder, `model-${written++}.onnx`);
        await writeFile(path, encodeModel(graph));
        return path;
      },
      /** Removes the files. Runtimes that have loaded them keep their mappings. */
      async close(): Promise<void> {
        // Windows can't remove a mapped file.
        await rm(folder, { recursive: true, force: true }).catch(() => {});
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** @throws Error with what to do about a file that is no ONNX */
function parse(file: Buffer): ModelProto {
  try {
    const model = decodeModel(file);
    if (model.graph?.node?.length) return model;
  } catch (cause) {
    throw new Error(foreignKind(file) ?? `it is damaged or of another kind: ${(cause as Error).message}`, {
      cause,
    });
  }
  throw new Error(foreignKind(file) ?? 'it has no graph');
}

/** Protobuf's limit of a message. Larger models have their weights in other files. */
const MAX_BYTES = 2 ** 31 - 1;

async function readWhole(path: string): Promise<Buffer> {
  await using file = await openFile(path);
  const { size } = await file.stat();
  if (size > MAX_BYTES) throw new Error('it is larger than 2 GB: export its weights as external data');
  const bytes = Buffer.allocUnsafeSlow(size);
  const { bytesRead } = await file.read(bytes, 0, size, 0);
  return bytes.subarray(0, bytesRead);
}

/** @returns a new folder in the first writable place: a container may have a read-only root */
async function scratchFolder(): Promise<string> {
  const places = [tmpdir(), cacheDir(), '/dev/shm'];
  for (const place of places) {
    const folder = await mkdtemp(join(place, 'video-pipeline-model-')).catch(() => undefined);
    if (folder) return folder;
  }
  throw new Error(
    `no writable folder for its weights: none of ${places.join(', ')} can be written to; set TMPDIR`,
  );
}

/** Moves all large weights into `target`. @returns the number of its bytes */
async function moveWeights(
  model: ModelProto,
  read: (tensor: TensorProto) => AsyncIterable<Uint8Array>,
  target: FileHandle,
  hash: Hash,
): Promise<number> {
  let end = 0;
  for (const tensor of model.graph.initializer) {
    const isOutside = tensor.dataLocation === EXTERNAL;
    if (!isOutside && !(tensor.rawData?.length >= MIN_MOVED)) continue;
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    // `write` may write a part only, as on a disk that is nearly full.
    await target.appendFile(Buffer.alloc(offset - end));
    end = offset;
    for await (const block of isOutside ? read(tensor) : blocksOf(tensor.rawData)) {
      if (isOutside) hash.update(block);
      await target.appendFile(block);
      end += block.length;
    }
    Object.assign(tensor, {
      rawData: new Uint8Array(0),
      dataLocation: EXTERNAL,
      externalData: Object.entries({ location: WEIGHTS, offset, length: end - offset }).map(
        ([key, value]) => ({ key, value: String(value) }),
      ),
    });
  }
  return end;
}

/** Reads a tensor's bytes from a file beside the model. @throws Error when that file is missing or elsewhere */
async function* readExternal({ name, externalData = [] }: TensorProto, folder: string, onWeights: OnWeights) {
  const facts = new Map(externalData.map(({ key, value }) => [key, value]));
  const location = facts.get('location') ?? '';
  if (location === '' || isAbsolute(location) || normalize(location).startsWith('..')) {
    throw new Error(`weights '${name}' lie in '${location}', which is no file beside it`);
  }
  await onWeights(join(folder, location));
  await using file = await openFile(join(folder, location)).catch((cause) => {
    throw new Error(`weights '${name}' lie in '${location}', which can't be read: ${cause.message}`);
  });
  const { size } = await file.stat();
  const offset = Number(facts.get('offset') ?? 0);
  const end = offset + Number(facts.get('length') ?? size - offset);
  if (!(offset >= 0 && end >= offset && end <= size))
    throw new Error(`weights '${name}' end beyond '${location}'`);
  for (let at = offset; at < end; at += BLOCK) {
    const block = Buffer.alloc(Math.min(BLOCK, end - at));
    await file.read(block, 0, block.length, at);
    yield block;
  }
}

function* blocksOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += BLOCK) yield bytes.subarray(at, at + BLOCK);
}
