import {
  isRecovery,
  type Parameters,
  parametersOf,
  readParameters,
  readSequence,
  readSlice,
  type Sequence,
  type Slice,
} from './h264-headers.ts';
import { type Gap, nalUnits, type Verdict } from './nal-units.ts';

interface Reference {
  number: number;
  /** Position in output order; undefined for a lost picture. */
  place: number | undefined;
  isWhole: boolean;
  /** Whether it certainly is still a reference. A lost picture may have marked it as unused. */
  isSure: boolean;
}

/** Most fields that count as damaged if neither a key frame nor a recovery point comes. After them, FFmpeg decides. */
const MAX_DOUBT = 500;
/** There are at most 16 references, and as many lost ones are kept. */
const MAX_KEPT = 32;

/**
 * Finds the pictures of an H.264 stream that refer to a lost picture (ITU-T H.264, 8.2.4). FFmpeg replaces a lost
 * picture by another one, and later pictures are smeared without an error. In a stream with fields or long-term
 * references only frame_num is followed (7.4.3). There, all pictures after a loss count as damaged until a key frame,
 * or with fields until a recovery point.
 */
export class H264References {
  readonly #sequences = new Map<number, Sequence>();
  readonly #parameters = new Map<number, Parameters>();
  /** In decoding order. Undefined before the first key frame, and after a loss that all later pictures refer to. */
  #references: Reference[] | undefined;
  /** Whether slices of the stream mark references as unused themselves. */
  #isAdaptive = false;
  #isOther = false;
  /** Whether pictures are coded as two fields. */
  #hasFields = false;
  /** How many more fields count as damaged. FFmpeg trusts an I field, although its second field may refer to others. */
  #doubt = 0;
  /** frame_num of the last reference picture. */
  #number: number | undefined;
  #high = 0;
  #low = 0;

  /** @param picture with start codes (Annex B), in decoding order; other formats are ignored @param gap before it */
  check(picture: Buffer, gap?: Gap): Verdict {
    let recovers = false;
    try {
      for (const nal of nalUnits(picture, isSlice)) {
        const type = (nal[0] ?? 0) & 31;
        if (type === 7) this.#sequences.set(...readSequence(nal));
        if (type === 8) this.#parameters.set(...readParameters(nal));
        if (type === 6) recovers ||= isRecovery(nal);
        if (isSlice(type)) return this.#follow(nal, picture, gap, recovers);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // An invalid header: the decoder will report it.
      this.forget();
    }
    return gap?.isKey ? this.#break() : 'whole';
  }

  #follow(nal: Buffer, picture: Buffer, gap: Gap | undefined, recovers: boolean): Verdict {
    const [sequence, parameters] = this.#setsOf(nal);
    if (!sequence || parameters.hasGroups) return gap ? this.#break() : 'whole';
    const slice = readSlice(nal, sequence, parameters);
    const { isIdr, isReference } = slice;
    const isStart = isIdr || (recovers && slice.isField);
    this.#hasFields ||= slice.isField;
    if (isStart) this.#doubt = 0;
    else if (slice.isField && this.#number === undefined) this.#doubt = MAX_DOUBT;
    const before = isStart ? undefined : this.#number;
    if (isReference) this.#number = slice.number;
    this.#isAdaptive ||= slice.unused !== undefined;
    this.#isOther ||= slice.isOther;
    if (isIdr) {
      [this.#high, this.#low] = [0, 0];
      const place = this.#placeOf(slice, sequence);
      this.#references = [{ number: slice.number, place, isWhole: true, isSure: true }];
      return 'whole';
    }
    if (isStart) return 'whole';
    if (gap?.isKey) return this.#break();
    const limit = 2 ** sequence.numberBits;
    // Both fields of a picture have one number.
    const isSame = before === undefined || (before === slice.number && (sequence.hasFields || !gap));
    const missing = isSame ? 0 : (slice.number - before - 1 + limit) % limit;
    if (missing > 0 && !isReference) this.#number = (slice.number - 1 + limit) % limit;
    // Numbers restart at a key frame. If one was lost and no number is missing, `slice.number` pictures were lost.
    const mayHideKey = missing === 0 && slice.number <= (gap?.packets ?? -1);
    if (gap && (mayHideKey || !this.#references)) return this.#break();
    if (missing === 0 || (sequence.hasGaps && !gap)) return this.#look(slice, picture, sequence);
    if (this.#isOther || sequence.hasGaps || !this.#references) return this.#break();
    for (let back = Math.min(missing, MAX_KEPT); back > 0; back -= 1)
      this.#miss((slice.number - back + limit) % limit, sequence);
    return this.#look(slice, picture, sequence);
  }

  #look(slice: Slice, picture: Buffer, sequence: Sequence): Verdict {
    const references = this.#references;
    const place = this.#placeOf(slice, sequence);
    if (this.#doubt > 0) {
      this.#doubt -= 1;
      return 'smeared';
    }
    if (!references) return 'whole';
    const isHole = references.some(({ isWhole, isSure }) => !isWhole || !isSure);
    const isWhole =
      !isHole || this.#slicesOf(picture).every((one) => areWhole(one, references, place, sequence));
    if (slice.isReference) {
      this.#mark(slice, sequence);
      keep(references, { number: slice.number, place, isWhole, isSure: true });
    }
    // Without an undamaged reference all later pictures refer to lost ones.
    if (!references.some((one) => one.isWhole)) return this.#break();
    return isWhole ? 'whole' : 'smeared';
  }

  /** Adds a lost picture. Its marking of other references is lost too. */
  #miss(number: number, sequence: Sequence): void {
    const references = this.#references ?? [];
    if (this.#isAdaptive) for (const one of references) one.isSure = false;
    else this.#mark({ number, unused: undefined }, sequence);
    keep(references, { number, place: undefined, isWhole: false, isSure: true });
  }

  /** Removes the references that a slice marks as unused, or else the oldest (8.2.5). */
  #mark({ number, unused }: Pick<Slice, 'number' | 'unused'>, sequence: Sequence): void {
    const references = this.#references ?? [];
    const limit = 2 ** sequence.numberBits;
    for (const distance of unused ?? []) {
      const at = references.findIndex((one) => one.number === (number - distance + limit) % limit);
      if (at >= 0) references.splice(at, 1);
    }
    if (!unused && references.length >= Math.max(1, sequence.maxReferences)) references.shift();
  }

  /** The parameter sets of a slice; nothing if one of them is missing. */
  #setsOf(nal: Buffer): [Sequence, Parameters] | [undefined, undefined] {
    const parameters = this.#parameters.get(parametersOf(nal));
    const sequence = parameters && this.#sequences.get(parameters.sequence);
    return sequence ? [sequence, parameters] : [undefined, undefined];
  }

  #slicesOf(picture: Buffer): (Slice | undefined)[] {
    return [...nalUnits(picture, () => false)]
      .filter((nal) => isSlice(nal[0] ?? 0))
      .map((nal) => {
        const [sequence, parameters] = this.#setsOf(nal);
        return sequence && readSlice(nal, sequence, parameters);
      });
  }

  /** 8.2.1.1 */
  #placeOf({ low, isReference, isIdr }: Slice, { placeBits }: Sequence): number | undefined {
    if (low === undefined || placeBits === undefined) return undefined;
    const span = 2 ** placeBits;
    let high = this.#high;
    if (low < this.#low && this.#low - low >= span / 2) high += span;
    else if (low > this.#low && low - this.#low > span / 2) high -= span;
    if (isReference || isIdr) [this.#high, this.#low] = [high, low];
    return high + low;
  }

  #break(): Verdict {
    this.forget();
    // Decoding goes on, but nothing is returned.
    return this.#hasFields ? 'smeared' : 'broken';
  }

  forget(): void {
    this.#references = undefined;
    if (this.#hasFields) this.#doubt = MAX_DOUBT;
  }
}

/** Adds a reference. The number is limited also for a stream that never marks one as unused. */
function keep(references: Reference[], one: Reference): void {
  // Two references never have the same number: a lost picture has removed the former one.
  const same = references.findIndex(({ number }) => number === one.number);
  if (same >= 0) references.splice(same, 1);
  references.push(one);
  if (references.length > MAX_KEPT) references.shift();
}

/** Whether all references of a slice are undamaged. @param place output order of its picture */
function areWhole(
  slice: Slice | undefined,
  references: readonly Reference[],
  place: number | undefined,
  { numberBits }: Sequence,
): boolean {
  if (!slice) return false;
  const orders = slice.isB ? ordersOf(references, place) : [references.toReversed()];
  const limit = 2 ** numberBits;
  return slice.lists.every(({ count, changes }, list) => {
    const usual = orders[list];
    // If the output order of one reference is unknown, the order of the list is unknown too.
    if (!usual || changes.some(({ op }) => op > 1)) return false;
    let order: (Reference | undefined)[] = Array.from({ length: count }, (_, at) => usual[at]);
    let number = slice.number;
    for (const [at, { op, value }] of changes.entries()) {
      number = (number + (op === 0 ? -1 : 1) * (value + 1) + limit) % limit;
      const named = references.find((one) => one.number === number);
      if (named) named.isSure = true;
      order = [...order.slice(0, at), named, ...order.slice(at).filter((one) => one !== named)];
    }
    return order.slice(0, count).every((one) => one?.isWhole && one.isSure);
  });
}

/** Default order of a B picture's two lists, nearest first (8.2.4.2.3); empty if an output order is unknown. */
function ordersOf(references: readonly Reference[], place: number | undefined): Reference[][] {
  const far = (one: Reference) => (one.place ?? Number.NaN) - (place ?? Number.NaN);
  if (references.some((one) => Number.isNaN(far(one)))) return [];
  const past = references.filter((one) => far(one) < 0).sort((one, other) => far(other) - far(one));
  const future = references.filter((one) => far(one) >= 0).sort((one, other) => far(one) - far(other));
  const [first, second] = [
    [...past, ...future],
    [...future, ...past],
  ];
  const isSame = second.length > 1 && second.every((one, at) => one === first[at]);
  return [first, isSame ? [second[1] as Reference, second[0] as Reference, ...second.slice(2)] : second];
}

const isSlice = (header: number) => (header & 31) === 1 || (header & 31) === 5;
