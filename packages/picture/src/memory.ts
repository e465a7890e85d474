/** Most bytes that are kept for later pictures: two of 4K, or twenty of 720p. */
const MAX_KEPT = 64_000_000;

/** Memory of pictures that are no longer used, the newest last, and its size. */
const kept: ArrayBuffer[] = [];
let keptBytes = 0;
/** Memory that is in use. Memory that the garbage collector freed is no longer in the set. */
const taken = new WeakSet<ArrayBufferLike>();

/**
 * Memory for pixels, with undefined content. It is reused, since new pages for each picture cost as much as its
 * decoding.
 * @returns this many bytes, to be given to {@link giveBack} when they are no longer used
 */
export function takeMemory(bytes: number): Uint8Array<ArrayBuffer> {
  // Memory that is far too large is not used: a large picture may need it.
  const at = kept.findLastIndex(({ byteLength }) => byteLength >= bytes && byteLength <= 2 * bytes);
  const [memory = Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer] = at < 0 ? [] : kept.splice(at, 1);
  if (at >= 0) keptBytes -= memory.byteLength;
  taken.add(memory);
  return new Uint8Array(memory, 0, bytes);
}

/**
 * Keeps memory for the next picture. Memory that did not come from {@link takeMemory}, or was given back before, is
 * ignored.
 */
export function giveBack({ buffer }: Uint8Array): void {
  // A buffer that was transferred to another thread is empty.
  if (!taken.delete(buffer) || buffer.byteLength === 0) return;
  kept.push(buffer as ArrayBuffer);
  keptBytes += buffer.byteLength;
  while (keptBytes > MAX_KEPT) keptBytes -= kept.shift()?.byteLength ?? 0;
}
