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
import { type Loss, nalUnits, type PictureState } from './nal-units.ts';

interface Reference {
  number: number;
  /** Picture order count; undefined for a lost picture. */
  poc: number | undefined;
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
  #pocMsb = 0;
  #pocLsb = 0;

  /** @param picture with start codes (Annex B), in decoding order; other formats are ignored @param loss before it */
  check(picture: Buffer, loss?: Loss): PictureState {
    let recovers = false;
    try {
      for (const nal of nalUnits(picture, isSlice)) {
        const type = (nal[0] ?? 0) & 31;
        if (type === 7) this.#sequences.set(...readSequence(nal));
        if (type === 8) this.#parameters.set(...readParameters(nal));
        if (type === 6) recovers ||= isRecovery(nal);
        if (isSlice(type)) return this.#follow(nal, picture, loss, recovers);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // An invalid header: the decoder will report it.
      this.forget();
    }
    return loss?.isKey ? this.#break() : 'whole';
  }

  #follow(nal: Buffer, picture: Buffer, loss: Loss | undefined, recovers: boolean): PictureState {
    const [sequence, parameters] = this.#setsOf(nal);
    if (!sequence || parameters.hasGroups) return loss ? this.#break() : 'whole';
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
      [this.#pocMsb, this.#pocLsb] = [0, 0];
      const poc = this.#pocOf(slice, sequence);
      this.#references = [{ number: slice.number, poc, isWhole: true, isSure: true }];
      return 'whole';
    }
    if (isStart) return 'whole';
    if (loss?.isKey) return this.#break();
    const limit = 2 ** sequence.numberBits;
    // Both fields of a picture have one number.
    const isSame = before === undefined || (before === slice.number && (sequence.hasFields || !loss));
    const missing = isSame ? 0 : (slice.number - before - 1 + limit) % limit;
    if (missing > 0 && !isReference) this.#number = (slice.number - 1 + limit) % limit;
    // Numbers restart at a key frame. If one was lost and no number is missing, `slice.number` pictures were lost.
    const mayHideKey = missing === 0 && slice.number <= (loss?.packets ?? -1);
    if (loss && (mayHideKey || !this.#references)) return this.#break();
    if (missing === 0 || (sequence.maySkip && !loss)) return this.#look(slice, picture, sequence);
    if (this.#isOther || sequence.maySkip || !this.#references) return this.#break();
    for (let back = Math.min(missing, MAX_KEPT); back > 0; back -= 1)
      this.#miss((slice.number - back + limit) % limit, sequence);
    return this.#look(slice, picture, sequence);
  }

  #look(slice: Slice, picture: Buffer, sequence: Sequence): PictureState {
    const references = this.#references;
    const poc = this.#pocOf(slice, sequence);
    if (this.#doubt > 0) {
      this.#doubt -= 1;
      return 'smeared';
    }
    if (!references) return 'whole';
    const isHole = references.some(({ isWhole, isSure }) => !isWhole || !isSure);
    const isWhole =
      !isHole || this.#slicesOf(picture).every((one) => areWhole(one, references, poc, sequence));
    if (slice.isReference) {
      this.#mark(slice, sequence);
      keep(references, { number: slice.number, poc, isWhole, isSure: true });
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
    keep(references, { number, poc: undefined, isWhole: false, isSure: true });
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
  #pocOf({ pocLsb, isReference, isIdr }: Slice, { pocBits }: Sequence): number | undefined {
    if (pocLsb === undefined || pocBits === undefined) return undefined;
    const span = 2 ** pocBits;
    let high = this.#pocMsb;
    if (pocLsb < this.#pocLsb && this.#pocLsb - pocLsb >= span / 2) high += span;
    else if (pocLsb > this.#pocLsb && pocLsb - this.#pocLsb > span / 2) high -= span;
    if (isReference || isIdr) [this.#pocMsb, this.#pocLsb] = [high, pocLsb];
    return high + pocLsb;
  }

  #break(): PictureState {
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

/** Whether all references of a slice are undamaged. @param poc of its picture */
function areWhole(
  slice: Slice | undefined,
  references: readonly Reference[],
  poc: number | undefined,
  { numberBits }: Sequence,
): boolean {
  if (!slice) return false;
  const orders = slice.isB ? ordersOf(references, poc) : [references.toReversed()];
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
function ordersOf(references: readonly Reference[], poc: number | undefined): Reference[][] {
  const far = (one: Reference) => (one.poc ?? Number.NaN) - (poc ?? Number.NaN);
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
