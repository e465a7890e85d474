import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ModelProto, TensorProto } from './schema.ts';

/** `TensorProto.DataLocation` */
const EXTERNAL = 1;

/**
 * Puts weights that lie in other files beside the model into it: torch writes them so since 2.9. Only files of the model's
 * own folder are read. Changes `model`.
 * @param seen called with the bytes of each
 * @returns whether there were none
 * @throws Error naming the file that is missing, or that lies elsewhere
 */
export async function takeExternalData(
  model: ModelProto,
  folder: string,
  seen: (bytes: Uint8Array) => void,
): Promise<boolean> {
  const outside = model.graph.initializer.filter(({ dataLocation }) => dataLocation === EXTERNAL);
  for (const tensor of outside) {
    tensor.rawData = await readExternal(tensor, folder);
    seen(tensor.rawData);
    tensor.dataLocation = 0;
    tensor.externalData = [];
  }
  return outside.length === 0;
}

async function readExternal({ name, externalData = [] }: TensorProto, folder: string): Promise<Uint8Array> {
  const facts = new Map(externalData.map(({ key, value }) => [key, value]));
  const location = facts.get('location') ?? '';
  if (location === '' || basename(location) !== location) {
    throw new Error(`weights '${name}' lie in '${location}', which is no file beside it`);
  }
  const file = await open(join(folder, location)).catch((cause) => {
    throw new Error(`weights '${name}' lie in '${location}', which can't be read: ${cause.message}`, {
      cause,
    });
  });
  try {
    const { size } = await file.stat();
    const offset = Number(facts.get('offset') ?? 0);
    const length = Number(facts.get('length') ?? size - offset);
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new Error(`weights '${name}' end beyond '${location}'`);
    }
    const bytes = new Uint8Array(length);
    await file.read(bytes, 0, length, offset);
    return bytes;
  } finally {
    await file.close();
  }
}
