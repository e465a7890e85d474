import sharp from 'sharp';

/** Bits of approximation of the scans that are added: 14 for each coefficient of each component. */
const APPROXIMATIONS = [[0, 13], ...Array.from({ length: 13 }, (_, index) => [13 - index, 12 - index])] as [
  number,
  number,
][];
/** A Huffman table of two codes: 'end of band' over at least 2 ** 14 or 2 ** 13 blocks. */
const TABLE = Buffer.from([0xff, 0xc4, 0, 21, 0x10, 1, 1, ...Array(14).fill(0), 0xe0, 0xd0]);

/**
 * A valid grey progressive JPEG with 2,646 needless scans: each has 'no coefficient' for a whole plane.
 * @param side pixels; 1,500 or more, so that a plane has as many blocks as the table's codes count
 */
export function manyScans(side: number): Promise<Buffer> {
  const made = ready.get(side) ?? make(side);
  ready.set(side, made);
  return made;
}

/** Pictures by their side: test files that share a worker share them. */
const ready = new Map<number, Promise<Buffer>>();

async function make(side: number): Promise<Buffer> {
  const background = { r: 90, g: 120, b: 60 };
  const jpeg = await sharp({ create: { width: side, height: side, channels: 3, background } })
    .jpeg({ progressive: true, quality: 75 })
    .toBuffer();
  const first = jpeg.indexOf(Buffer.from([0xff, 0xda]));
  const planes = [Math.ceil(side / 8), Math.ceil(side / 16), Math.ceil(side / 16)].map((row) =>
    empty(row * row),
  );
  const scans: Buffer[] = [];
  for (let coefficient = 1; coefficient < 64; coefficient++) {
    for (const [component, data] of planes.entries()) {
      for (const [high, low] of APPROXIMATIONS) {
        const header = [0xff, 0xda, 0, 8, 1, component + 1, 0, coefficient, coefficient, (high << 4) | low];
        scans.push(Buffer.from(header), data);
      }
    }
  }
  const scanEnd = jpeg.indexOf(Buffer.from([0xff, 0xc4]), first);
  return Buffer.concat([jpeg.subarray(0, scanEnd), TABLE, ...scans, Buffer.from([0xff, 0xd9])]);
}

/** A scan's data: 'end of band' until `blocks` are over (ITU-T T.81, G.1.2.2). */
function empty(blocks: number): Buffer {
  let bits = '';
  const runs = Math.ceil(blocks / 32_767);
  for (let run = 0; run < runs; run++) {
    const length = Math.floor((blocks * (run + 1)) / runs) - Math.floor((blocks * run) / runs);
    const exponent = length < 2 ** 14 ? 13 : 14;
    bits += (exponent === 14 ? '0' : '10') + (length - 2 ** exponent).toString(2).padStart(exponent, '0');
  }
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  const bytes = bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? [];
  return Buffer.from(bytes.flatMap((byte) => (byte === 0xff ? [byte, 0] : [byte])));
}
