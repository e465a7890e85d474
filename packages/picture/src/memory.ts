/** Most bytes that are kept for the next pictures: two of 4K, or twenty of 720p. */
const MAX_KEPT = 64_000_000;

/** Memory of pictures that are done with, the newest last, and how much it is. */
const kept: ArrayBuffer[] = [];
let keptBytes = 0;
/** What was taken and is not given back; what is lost to the garbage collector is no longer in it. */
const taken = new WeakSet<ArrayBufferLike>();

/**
 * Memory for pixels; what it holds does not matter. New pages for each picture cost as much as decoding it.
 * @returns so many bytes, to be given to {@link giveBack} once they are done with
 */
export function takeMemory(bytes: number): Uint8Array<ArrayBuffer> {
  // Not one that is far too large: it would be missed where it is needed.
  const at = kept.findLastIndex(({ byteLength }) => byteLength >= bytes && byteLength <= 2 * bytes);
  const [memory = Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer] = at < 0 ? [] : kept.splice(at, 1);
  if (at >= 0) keptBytes -= memory.byteLength;
  taken.add(memory);
  return new Uint8Array(memory, 0, bytes);
}

/** Keeps the memory for the next picture. What did not come from {@link takeMemory}, or is back already, is left alone. */
export function giveBack({ buffer }: Uint8Array): void {
  // Nothing is left of what another thread was given.
  if (!taken.delete(buffer) || buffer.byteLength === 0) return;
  kept.push(buffer as ArrayBuffer);
  keptBytes += buffer.byteLength;
  while (keptBytes > MAX_KEPT) keptBytes -= kept.shift()?.byteLength ?? 0;
}
