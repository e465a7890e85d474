import Encoder from 'kafkajs/src/protocol/encoder.js';

/** Smallest value that is referred to, bytes. Shorter values cost less to copy than to refer to. */
const MIN_CHUNK_BYTES = 4096;

/**
 * kafkajs 2.2.4 copies a message's value into seven zeroed buffers, each twice too large, on its way to the socket.
 * With JPEGs as values, that is a megabyte of garbage for each message, and the garbage collector costs more than the
 * sending. Here an encoder keeps a reference to each large value, and joins all parts when its bytes are asked for.
 */
export function keepLargeValues(): void {
  const { writeBufferInternal, writeBytes } = Encoder.prototype;
  const bytes = Object.getOwnPropertyDescriptor(Encoder.prototype, 'buffer')?.get;
  if (!bytes) throw new Error('kafkajs: its encoder has no buffer');

  Object.assign(Encoder.prototype, {
    writeBufferInternal(this: Encoder, value: Buffer) {
      if (value.length < MIN_CHUNK_BYTES) return writeBufferInternal.call(this, value);
      closeChunk(this).push(value);
    },
    writeBytes(this: Encoder, value: unknown) {
      // The method of kafkajs would first allocate memory for the value.
      if (!Buffer.isBuffer(value)) return writeBytes.call(this, value);
      this.writeInt32(value.length).writeBufferInternal(value);
      return this;
    },
    writeEncoder(this: Encoder, value: Encoder) {
      for (const chunk of value.chunks ?? []) this.writeBufferInternal(chunk);
      this.writeBufferInternal(value.buf.subarray(0, value.offset));
      return this;
    },
    writeEncoderArray(this: Encoder, values: Encoder[]) {
      for (const value of values) this.writeEncoder(value);
      return this;
    },
    size(this: Encoder) {
      return (this.chunks ?? []).reduce((sum, { length }) => sum + length, this.offset);
    },
  });
  Object.defineProperty(Encoder.prototype, 'buffer', {
    get(this: Encoder) {
      if (!this.chunks) return bytes.call(this);
      this.chunks = [Buffer.concat(closeChunk(this))];
      return this.chunks[0];
    },
  });
}

/** The bytes written so far become a chunk. Writing goes on in the rest of the encoder's buffer. */
function closeChunk(encoder: Encoder): Buffer[] {
  encoder.chunks ??= [];
  if (encoder.offset > 0) encoder.chunks.push(encoder.buf.subarray(0, encoder.offset));
  encoder.buf = encoder.buf.subarray(encoder.offset);
  encoder.offset = 0;
  return encoder.chunks;
}
