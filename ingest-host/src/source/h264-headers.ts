import { atMost, Bits } from './nal-units.ts';

/** Profiles whose sequence parameter sets begin with their chroma format (ITU-T H.264, 7.3.2.1.1). */
const WITH_CHROMA = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/** Larger numbers are invalid in H.264 (7.4.2.1.1, 7.4.2.2, 7.4.3). */
const MAX_SEQUENCE_ID = 31;
const MAX_PARAMETERS_ID = 255;
const MAX_REFERENCES = 32;
/** Most bytes of a slice header, with weights for all its references. */
const MAX_HEADER_BYTES = 512;

export interface Sequence {
  /** Bits of frame_num. */
  numberBits: number;
  /** Bits of a picture's output order (pic_order_cnt_lsb); undefined if slices do not contain it. */
  pocBits: number | undefined;
  hasDeltas: boolean;
  hasPlanes: boolean;
  hasColours: boolean;
  hasFields: boolean;
  maxReferences: number;
  /** Whether frame_num may skip numbers. */
  maySkip: boolean;
}

export interface Parameters {
  sequence: number;
  hasBottom: boolean;
  hasGroups: boolean;
  /** Default numbers of references in the two lists of a slice. */
  counts: [number, number];
  isWeighted: boolean;
  isWeightedB: boolean;
  isRedundant: boolean;
}

export interface Slice {
  isIdr: boolean;
  isReference: boolean;
  number: number;
  /** Low bits of its output order. */
  pocLsb: number | undefined;
  isB: boolean;
  /**
   * The slice's reference lists: number of references, and changes of the default order. Empty for an I slice. `op` 0
   * and 1 select a picture by frame_num distance, down and up (7.4.3.1).
   */
  lists: { count: number; changes: { op: number; value: number }[] }[];
  /** References that the slice marks as unused, by frame_num distance. Undefined: the oldest is removed. */
  unused: number[] | undefined;
  isField: boolean;
  /** Whether references can't be followed: the slice uses fields or long-term references. */
  isOther: boolean;
}

/** Reads a sequence parameter set (7.3.2.1.1). @returns its id and its content */
export function readSequence(nal: Buffer): [number, Sequence] {
  const bits = new Bits(nal, 1, MAX_HEADER_BYTES);
  const profile = bits.read(8);
  bits.skip(16);
  const id = atMost(MAX_SEQUENCE_ID, bits.golomb());
  const chroma = WITH_CHROMA.includes(profile) ? bits.golomb() : 1;
  const hasPlanes = chroma === 3 && bits.flag();
  if (WITH_CHROMA.includes(profile)) {
    bits.skipGolombs(2);
    bits.skip(1);
    if (bits.flag()) skipScaling(bits, chroma === 3 ? 12 : 8);
  }
  const numberBits = atMost(16, bits.golomb() + 4);
  const orderType = bits.golomb();
  const pocBits = orderType === 0 ? atMost(16, bits.golomb() + 4) : undefined;
  const hasDeltas = orderType === 1 && !bits.flag();
  if (orderType === 1) {
    bits.skipGolombs(2);
    bits.skipGolombs(atMost(255, bits.golomb()));
  }
  const maxReferences = atMost(MAX_REFERENCES, bits.golomb());
  const maySkip = bits.flag();
  bits.skipGolombs(2);
  const [hasFields, hasColours] = [!bits.flag(), chroma !== 0 && !hasPlanes];
  return [id, { numberBits, pocBits, hasDeltas, hasPlanes, hasColours, hasFields, maxReferences, maySkip }];
}

/** Reads a picture parameter set (7.3.2.2). @returns its id and its content */
export function readParameters(nal: Buffer): [number, Parameters] {
  const bits = new Bits(nal, 1);
  const [id, sequence] = [atMost(MAX_PARAMETERS_ID, bits.golomb()), bits.golomb()];
  bits.skip(1);
  const hasBottom = bits.flag();
  const hasGroups = bits.golomb() > 0;
  const counts: [number, number] = [bits.golomb() + 1, bits.golomb() + 1];
  const isWeighted = bits.flag();
  const isWeightedB = bits.read(2) === 1;
  bits.skipGolombs(3);
  bits.skip(2);
  return [id, { sequence, hasBottom, hasGroups, counts, isWeighted, isWeightedB, isRedundant: bits.flag() }];
}

/** Id of a slice's picture parameter set. */
export function parametersOf(nal: Buffer): number {
  const bits = new Bits(nal, 1, 24);
  bits.skipGolombs(2);
  return bits.golomb();
}

/** Reads a slice header (7.3.3) up to the marking of references. For a field only its frame_num. */
export function readSlice(nal: Buffer, sequence: Sequence, parameters: Parameters): Slice {
  const bits = new Bits(nal, 1, MAX_HEADER_BYTES);
  bits.skipGolombs(1);
  const type = bits.golomb() % 5;
  bits.skipGolombs(1);
  if (sequence.hasPlanes) bits.skip(2);
  const number = bits.read(sequence.numberBits);
  const isIdr = ((nal[0] ?? 0) & 31) === 5;
  const isReference = ((nal[0] ?? 0) & 0x60) !== 0;
  const isB = type === 1;
  const isField = sequence.hasFields && bits.flag();
  const known = { isIdr, isReference, number, isB, isField };
  if (isField) return { ...known, pocLsb: undefined, lists: [], unused: undefined, isOther: true };
  if (isIdr) bits.skipGolombs(1);
  const pocLsb = sequence.pocBits === undefined ? undefined : bits.read(sequence.pocBits);
  bits.skipGolombs(
    (sequence.hasDeltas ? 1 : 0) +
      (parameters.hasBottom && (pocLsb !== undefined || sequence.hasDeltas) ? 1 : 0),
  );
  if (parameters.isRedundant) bits.skipGolombs(1);
  const lists = type === 2 || type === 4 ? [] : readLists(bits, isB, parameters.counts);
  if (isB ? parameters.isWeightedB : parameters.isWeighted) skipWeights(bits, lists, sequence.hasColours);
  if (isReference && isIdr) bits.skip(1);
  const isAdaptive = isReference && bits.flag();
  const unused = isAdaptive && !isIdr ? readMarking(bits) : undefined;
  const isOther = isAdaptive && unused === undefined;
  return { ...known, pocLsb, lists, unused, isOther };
}

/** Whether supplemental information (SEI) says that all pictures from here on can be decoded (D.2.8). */
export function isRecovery(nal: Buffer): boolean {
  const bits = new Bits(nal, 1, MAX_HEADER_BYTES);
  try {
    for (;;) {
      const [type, size] = [readLong(bits), readLong(bits)];
      if (type === 6) return bits.golomb() === 0;
      bits.skip(8 * size);
    }
  } catch {
    return false;
  }
}

/** A type or a size of supplemental information: each byte of 255 is followed by another (7.3.2.3.1). */
function readLong(bits: Bits): number {
  const byte = bits.read(8);
  return byte === 255 ? byte + readLong(bits) : byte;
}

/** Reads the marking (7.3.3.3). @returns references that become unused; undefined for other operations */
function readMarking(bits: Bits): number[] | undefined {
  const unused: number[] = [];
  for (let op = bits.golomb(); op !== 0; op = bits.golomb()) {
    if (op !== 1) return undefined;
    unused.push(bits.golomb() + 1);
    atMost(MAX_REFERENCES, unused.length);
  }
  return unused;
}

/** 7.3.3, 7.3.3.1 */
function readLists(bits: Bits, isB: boolean, usual: [number, number]): Slice['lists'] {
  if (isB) bits.skip(1);
  const isOwn = bits.flag();
  const counts = (isB ? [0, 1] : [0]).map((list) => (isOwn ? bits.golomb() + 1 : (usual[list] ?? 1)));
  return counts.map((count) => {
    const changes: Slice['lists'][number]['changes'] = [];
    for (let isChanged = bits.flag(); isChanged; ) {
      const op = bits.golomb();
      isChanged = op !== 3;
      if (isChanged) changes.push({ op, value: bits.golomb() });
      atMost(MAX_REFERENCES + 1, changes.length);
    }
    return { count: atMost(MAX_REFERENCES, count), changes };
  });
}

/** 7.3.3.2 */
function skipWeights(bits: Bits, lists: Slice['lists'], hasColours: boolean): void {
  if (lists.length === 0) return;
  bits.skipGolombs(hasColours ? 2 : 1);
  for (const { count } of lists) {
    for (let at = 0; at < count; at += 1) {
      if (bits.flag()) bits.skipGolombs(2);
      if (hasColours && bits.flag()) bits.skipGolombs(4);
    }
  }
}

/** 7.3.2.1.1.1 */
function skipScaling(bits: Bits, count: number): void {
  for (let list = 0; list < count; list += 1) {
    if (!bits.flag()) continue;
    for (let [at, last] = [0, 8]; at < (list < 6 ? 16 : 64) && last !== 0; at += 1)
      last = (last + bits.signed() + 256) % 256;
  }
}
