// Modules of kafkajs that tests alone import.

declare module 'kafkajs/src/consumer/offsetManager/index.js' {
  export default class OffsetManager {
    coordinator: object;
    constructor(options: object);
    commitOffsets(offsets: object): Promise<void>;
  }
}

declare module 'kafkajs/src/protocol/error.js' {
  export function createErrorFromCode(code: number): Error;
}

declare module 'kafkajs/src/protocol/decoder.js' {
  export default class Decoder {
    constructor(buffer: Buffer);
    readInt16(): number;
    readInt32(): number;
    readString(): string | null;
    readBytes(): Buffer;
    readArray<T>(read: (decoder: Decoder) => T): T[];
  }
}

declare module 'kafkajs/src/protocol/recordBatch/crc32C/index.js' {
  export default function crc32C(bytes: Buffer): number;
}
