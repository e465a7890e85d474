import {
  atMost,
  Bits,
  isKeyOfH265,
  type Loss,
  nalUnits,
  type PictureState,
  typeOfH265,
} from './nal-units.ts';

/** A reference, by its distance in output order. */
interface Reference {
  delta: number;
  /** Whether the current picture uses it; otherwise only later ones do. */
  isUsed: boolean;
}

interface Sequence {
  /** Bits of a picture order count (POC). */
  width: number;
  hasPlanes: boolean;
  sets: Reference[][];
  hasLongTerm: boolean;
  longTerm: { pocLsb: number; isUsed: boolean }[];
}

/** Larger numbers are invalid in H.265 (7.4.3.2.1, 7.4.3.3.1, 7.4.8). */
const MAX_SEQUENCE_ID = 15;
const MAX_PARAMETERS_ID = 63;
const MAX_SETS = 64;
const MAX_REFERENCES = 16;
/** Most bytes of a parameter set, with lists of scaling factors. */
const MAX_SET_BYTES = 4_096;

/** Finds the pictures of an H.265 stream that refer to a lost one. Each lists its references (ITU-T H.265, 8.3.2). */
export class H265References {
  readonly #sequences = new Map<number, Sequence>();
  readonly #parameters = new Map<number, { sequence: number; hasOutputFlag: boolean; extraBits: number }>();
  /** Output order of the undamaged references; undefined before the first key frame. */
  #kept: Set<number> | undefined;
  /** Output order of the last picture of the lowest temporal layer. */
  #before = 0;
  /** Output order of the last picture. */
  #last = 0;
  /** Longest distance in output order between neighbours in decoding order. */
  #step = 1;

  /** @param picture with start codes (Annex B), in decoding order; other formats are ignored @param loss before it */
  check(picture: Buffer, loss?: Loss): PictureState {
    try {
      for (const nal of nalUnits(picture, isSlice)) {
        const type = typeOfH265(nal[0] ?? 0);
        if (type === 33) this.#readSequence(new Bits(nal, 2, MAX_SET_BYTES));
        if (type === 34) this.#readParameters(new Bits(nal, 2));
        if (isSlice(nal[0] ?? 0)) return this.#follow(type, (nal[1] ?? 0) & 7, new Bits(nal, 2, 128), loss);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // An invalid header: the decoder will report it.
      this.forget();
    }
    return loss?.isKey ? this.#break() : 'whole';
  }

  #break(): PictureState {
    this.forget();
    return 'broken';
  }

  forget(): void {
    this.#kept = undefined;
  }

  /** 7.3.2.2 */
  #readSequence(bits: Bits): void {
    bits.skip(4);
    const layers = bits.read(3);
    bits.skip(1);
    skipProfile(bits, layers);
    const id = atMost(MAX_SEQUENCE_ID, bits.golomb());
    const hasPlanes = bits.golomb() === 3 && bits.flag();
    bits.skipGolombs(2);
    if (bits.flag()) bits.skipGolombs(4);
    bits.skipGolombs(2);
    const width = bits.golomb() + 4;
    bits.skipGolombs(bits.flag() ? 3 * (layers + 1) : 3);
    bits.skipGolombs(6);
    if (bits.flag() && bits.flag()) skipScaling(bits);
    bits.skip(2);
    if (bits.flag()) {
      bits.skip(8);
      bits.skipGolombs(2);
      bits.skip(1);
    }
    const count = atMost(MAX_SETS, bits.golomb());
    const sets: Reference[][] = [];
    for (let at = 0; at < count; at += 1) sets.push(readSet(bits, sets, count));
    const hasLongTerm = bits.flag();
    const longTerm = Array.from({ length: hasLongTerm ? atMost(33, bits.golomb()) : 0 }, () => ({
      pocLsb: bits.read(width),
      isUsed: bits.flag(),
    }));
    this.#sequences.set(id, { width: atMost(16, width), hasPlanes, sets, hasLongTerm, longTerm });
  }

  /** 7.3.2.3 */
  #readParameters(bits: Bits): void {
    const id = atMost(MAX_PARAMETERS_ID, bits.golomb());
    const sequence = bits.golomb();
    bits.skip(1);
    this.#parameters.set(id, { sequence, hasOutputFlag: bits.flag(), extraBits: bits.read(3) });
  }

  /** 7.3.6.1 @param layer temporal, from 1 */
  #follow(type: number, layer: number, bits: Bits, loss: Loss | undefined): PictureState {
    const isFirst = bits.flag();
    const isKey = isKeyOfH265(type);
    if (isKey) bits.skip(1);
    const parameters = this.#parameters.get(bits.golomb());
    const sequence = parameters && this.#sequences.get(parameters.sequence);
    // A picture whose first slice was lost is damaged too.
    if (!sequence || !isFirst) return this.#kept !== undefined && !isFirst ? this.#break() : 'whole';
    if (loss?.isKey && !isKey) return this.#break();
    bits.skip(parameters.extraBits);
    bits.golomb();
    if (parameters.hasOutputFlag) bits.skip(1);
    if (sequence.hasPlanes) bits.skip(2);
    const isIdr = type === 19 || type === 20;
    const pocLsb = isIdr ? 0 : bits.read(sequence.width);
    const poc = isKey && (type < 21 || !this.#kept) ? pocLsb : this.#pocOf(pocLsb, sequence.width);
    // Not for leading pictures of a key frame: they are decoded only if the pictures before the key frame are
    // available.
    if (layer === 1 && !(type >= 6 && type <= 9)) this.#before = poc;
    const former = this.#kept;
    if (!former && !isKey) return 'whole';
    const named = isIdr ? [] : readReferences(bits, sequence, poc);
    const kept = new Set(named.map(({ delta }) => poc + delta).filter((one) => former?.has(one)));
    if (loss && mayHideKey(pocLsb, named, this.#step * loss.packets)) return this.#break();
    if (!loss) this.#step = Math.max(this.#step, Math.abs(poc - this.#last));
    this.#last = poc;
    const isWhole = isKey || named.every(({ delta, isUsed }) => !isUsed || kept.has(poc + delta));
    if (isWhole) kept.add(poc);
    // Without an undamaged reference all later pictures refer to lost ones.
    if (kept.size === 0) return this.#break();
    this.#kept = kept;
    return isWhole ? 'whole' : 'smeared';
  }

  /** 8.3.1 */
  #pocOf(pocLsb: number, width: number): number {
    const span = 2 ** width;
    const high = Math.floor(this.#before / span) * span;
    const near = high + pocLsb;
    if (near < this.#before - span / 2) return near + span;
    return near >= this.#before + span / 2 ? near - span : near;
  }
}

/**
 * Whether a lost key frame may be the start of a picture's output order. Its references then are no earlier, and all
 * pictures from the key frame on are lost.
 * @param limit longest distance from the key frame in output order
 */
function mayHideKey(poc: number, references: readonly Reference[], limit: number): boolean {
  return poc <= limit && references.every(({ delta }) => poc + delta >= 0);
}

/** References of the picture `poc`: short-term by distance, long-term by the low bits of their output order. */
function readReferences(bits: Bits, { sets, width, hasLongTerm, longTerm }: Sequence, poc: number) {
  const number = () => (sets.length > 1 ? bits.read(Math.ceil(Math.log2(sets.length))) : 0);
  const references = [...(bits.flag() ? (sets[number()] ?? []) : readSet(bits, sets, sets.length))];
  if (!hasLongTerm) return references;
  const listed = longTerm.length > 0 ? bits.golomb() : 0;
  const all = atMost(MAX_REFERENCES, listed + bits.golomb());
  let cycles = 0;
  for (let at = 0; at < all; at += 1) {
    const index = at < listed && longTerm.length > 1 ? bits.read(Math.ceil(Math.log2(longTerm.length))) : 0;
    const { pocLsb, isUsed } = (at < listed ? longTerm[index] : undefined) ?? {
      pocLsb: bits.read(width),
      isUsed: bits.flag(),
    };
    if (at === 0 || at === listed) cycles = 0;
    const hasCycle = bits.flag();
    if (hasCycle) cycles += bits.golomb();
    const span = 2 ** width;
    const base = poc - (((poc % span) + span) % span);
    // Without the cycle every picture with these low bits may be meant. The nearest one before is the most likely.
    const near = base + pocLsb > poc ? pocLsb - span : pocLsb;
    references.push({ delta: (hasCycle ? base + pocLsb - cycles * span : base + near) - poc, isUsed });
  }
  return references;
}

/**
 * Reads a reference picture set (7.3.7).
 * @param sets the sets before it
 * @param count of the sets in the sequence; a set in a slice comes after all of them
 */
function readSet(bits: Bits, sets: readonly Reference[][], count: number): Reference[] {
  if (sets.length > 0 && bits.flag()) return readPredicted(bits, sets, count);
  const [before, after] = [bits.golomb(), bits.golomb()];
  atMost(MAX_REFERENCES, before + after);
  const read = (length: number, sign: number) => {
    let delta = 0;
    return Array.from({ length }, () => {
      delta += sign * (bits.golomb() + 1);
      return { delta, isUsed: bits.flag() };
    });
  };
  return [...read(before, -1), ...read(after, 1)];
}

/** Derives a set from another one (7.4.8): shifted, with some references left out. */
function readPredicted(bits: Bits, sets: readonly Reference[][], count: number): Reference[] {
  const from = sets[sets.length - (sets.length === count ? bits.golomb() + 1 : 1)] ?? [];
  const isBack = bits.flag();
  const shift = (isBack ? -1 : 1) * (bits.golomb() + 1);
  const shifted = [...from, { delta: 0, isUsed: true }].flatMap(({ delta }) => {
    const isUsed = bits.flag();
    return isUsed || bits.flag() ? [{ delta: delta + shift, isUsed }] : [];
  });
  // References before the picture come first, then those after it; each nearest first.
  const nearest = (one: Reference, other: Reference) => Math.abs(one.delta) - Math.abs(other.delta);
  return [
    ...shifted.filter(({ delta }) => delta < 0).sort(nearest),
    ...shifted.filter(({ delta }) => delta > 0).sort(nearest),
  ];
}

/** 7.3.3 */
function skipProfile(bits: Bits, layers: number): void {
  bits.skip(96);
  const present = Array.from({ length: layers }, () => [bits.flag(), bits.flag()]);
  if (layers > 0) bits.skip(2 * (8 - layers));
  for (const [hasProfile, hasLevel] of present) bits.skip((hasProfile ? 88 : 0) + (hasLevel ? 8 : 0));
}

/** 7.3.4 */
function skipScaling(bits: Bits): void {
  for (let size = 0; size < 4; size += 1) {
    for (let matrix = 0; matrix < 6; matrix += size === 3 ? 3 : 1) {
      if (bits.flag()) bits.skipGolombs((size > 1 ? 1 : 0) + Math.min(64, 16 << (2 * size)));
      else bits.golomb();
    }
  }
}

const isSlice = (header: number) => typeOfH265(header) < 32;
