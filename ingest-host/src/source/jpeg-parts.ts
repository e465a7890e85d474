const START = Buffer.from([0xff, 0xd8, 0xff]);

/** Markers without a length (ITU-T T.81, B.1.1.3): restarts, TEM, and a fill byte. */
const isAlone = (marker: number) => (marker >= 0xd0 && marker <= 0xd7) || marker === 0x01 || marker === 0xff;

/** Finds whole JPEGs in bytes with anything between them: cameras' multipart boundaries and lengths are unreliable. */
export class JpegSplitter {
  readonly #onJpeg: (jpeg: Buffer) => void;
  #bytes: Buffer = Buffer.alloc(64 * 1024);
  #length = 0;
  /** Position of the next byte to read. If over 0, the bytes from 0 on are the start of a JPEG. */
  #at = 0;
  #isInScan = false;

  constructor(onJpeg: (jpeg: Buffer) => void) {
    this.#onJpeg = onJpeg;
  }

  push(more: Buffer): void {
    if (this.#length + more.length > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes], 2 * (this.#length + more.length));
    }
    this.#length += more.copy(this.#bytes, this.#length);
    while (this.#step());
  }

  /** @returns whether there may be more to find */
  #step(): boolean {
    const bytes = this.#bytes.subarray(0, this.#length);
    if (this.#at === 0) {
      const start = bytes.indexOf(START);
      this.#drop(start < 0 ? Math.max(0, this.#length - 2) : start);
      if (start >= 0) this.#at = 2;
      return start >= 0;
    }
    if (this.#isInScan) {
      const marker = bytes.indexOf(0xff, this.#at);
      if (marker < 0 || marker + 1 >= this.#length) {
        this.#at = marker < 0 ? this.#length : marker;
        return false;
      }
      const isData = bytes[marker + 1] === 0 || isAlone(bytes[marker + 1] ?? 0);
      this.#at = isData ? marker + (bytes[marker + 1] === 0xff ? 1 : 2) : marker;
      this.#isInScan = isData;
      return true;
    }
    if (this.#at + 4 > this.#length && bytes[this.#at + 1] !== 0xd9) return false;
    return this.#segment(bytes, bytes[this.#at + 1] ?? 0);
  }

  #segment(bytes: Buffer, marker: number): boolean {
    if (marker === 0xd9) {
      this.#onJpeg(Buffer.from(bytes.subarray(0, this.#at + 2)));
      this.#drop(this.#at + 2);
    } else if (bytes[this.#at] !== 0xff || marker === 0xd8) {
      // The bytes are no JPEG, or it ended early.
      this.#drop(Math.max(2, this.#at));
    } else if (isAlone(marker)) this.#at += marker === 0xff ? 1 : 2;
    else {
      const end = this.#at + 2 + bytes.readUInt16BE(this.#at + 2);
      if (end > this.#length) return false;
      this.#at = end;
      this.#isInScan = marker === 0xda;
    }
    return true;
  }

  /** Drops the bytes before `end`, and the JPEG that had begun. */
  #drop(end: number): void {
    this.#bytes.copy(this.#bytes, 0, end, this.#length);
    this.#length -= end;
    this.#at = 0;
    this.#isInScan = false;
  }
}

const BOUNDARY = 'picture';
export const MULTIPART = `multipart/x-mixed-replace; boundary=${BOUNDARY}`;

/** A JPEG as a part of the multipart body for FFmpeg. */
export function partOf(jpeg: Buffer): Buffer {
  const head = `--${BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), jpeg, Buffer.from('\r\n')]);
}
