import {
  type Parameters,
  parametersOf,
  readParameters,
  readSequence,
  readSlice,
  type Sequence,
  type Slice,
} from './h264-headers.ts';
import { type Loss, nalUnits, type ReferenceCheck, type Verdict } from './nal-units.ts';

/** A picture that others may build on. */
interface Reference {
  number: number;
  /** In output order; undefined of one that did not come. */
  place: number | undefined;
  isWhole: boolean;
  /** That it may still be built on is known: one that did not come may have ended that. */
  isSure: boolean;
}

/** Pictures that may be built on are 16, and as many may not have come. */
const MAX_KEPT = 32;

/**
 * Tells which pictures of an H.264 stream build on one that has not come (ITU-T H.264, 8.2.4): FFmpeg puts another in its
 * place, and what follows is smeared without a word. A stream with fields or long-term references is followed by its numbers
 * only (7.4.3, frame_num): there, nothing after a loss is whole.
 */
export class H264References implements ReferenceCheck {
  readonly #sequences = new Map<number, Sequence>();
  readonly #parameters = new Map<number, Parameters>();
  /** In decoding order; undefined where they are not known: before the first key frame, or after a loss that all build on. */
  #references: Reference[] | undefined;
  /** Its slices have said which pictures are no longer built on. */
  #isAdaptive = false;
  #isOther = false;
  /** Of the last picture that others may build on. */
  #number: number | undefined;
  #high = 0;
  #low = 0;

  judge(picture: Buffer, lost?: Loss): Verdict {
    try {
      for (const nal of nalUnits(picture, isSlice)) {
        const type = (nal[0] ?? 0) & 31;
        if (type === 7) this.#sequences.set(...readSequence(nal));
        if (type === 8) this.#parameters.set(...readParameters(nal));
        if (isSlice(type)) return this.#follow(nal, picture, lost);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // What it says is for the decoder to find.
      this.forget();
    }
    return lost === 'key' ? this.#break() : 'whole';
  }

  #follow(nal: Buffer, picture: Buffer, lost: Loss | undefined): Verdict {
    const parameters = this.#parameters.get(parametersOf(nal));
    const sequence = parameters && this.#sequences.get(parameters.sequence);
    if (!sequence || parameters.hasGroups) return lost ? 'broken' : 'whole';
    const slice = readSlice(nal, sequence, parameters);
    const isReference = ((nal[0] ?? 0) & 0x60) !== 0;
    const isIdr = ((nal[0] ?? 0) & 31) === 5;
    const before = isIdr ? undefined : this.#number;
    if (isReference) this.#number = slice.number;
    this.#isAdaptive ||= slice.unused !== undefined;
    this.#isOther ||= slice.isOther;
    if (isIdr) {
      [this.#high, this.#low] = [0, 0];
      const place = this.#placeOf(slice, sequence, true);
      this.#references = [{ number: slice.number, place, isWhole: true, isSure: true }];
      return 'whole';
    }
    if (lost === 'key' || (lost && sequence.hasGaps)) return this.#break();
    const limit = 2 ** sequence.numberBits;
    const isNext = before === undefined || before === slice.number || sequence.hasGaps;
    const missing = isNext ? 0 : (slice.number - before - 1 + limit) % limit;
    if (missing > 0 && !isReference) this.#number = (slice.number - 1 + limit) % limit;
    if (missing > 0 && (this.#isOther || !this.#references)) return this.#break();
    for (let back = Math.min(missing, MAX_KEPT); back > 0; back -= 1)
      this.#miss((slice.number - back + limit) % limit, sequence);
    return this.#look(slice, picture, sequence, isReference);
  }

  #look(slice: Slice, picture: Buffer, sequence: Sequence, isReference: boolean): Verdict {
    const references = this.#references;
    const place = this.#placeOf(slice, sequence, isReference);
    if (!references) return 'whole';
    const isHole = references.some(({ isWhole, isSure }) => !isWhole || !isSure);
    const isWhole =
      !isHole || this.#slicesOf(picture).every((one) => isBuilt(one, references, place, sequence));
    if (isReference) {
      this.#mark(slice, sequence);
      keep(references, { number: slice.number, place, isWhole, isSure: true });
    }
    // Where no other is left, all that follows builds on what did not come.
    if (!references.some((one) => one.isWhole)) return this.#break();
    return isWhole ? 'whole' : 'smeared';
  }

  /** One did not come, nor what it said of the others. */
  #miss(number: number, sequence: Sequence): void {
    const references = this.#references ?? [];
    if (this.#isAdaptive) for (const one of references) one.isSure = false;
    else this.#mark({ number, unused: undefined }, sequence);
    keep(references, { number, place: undefined, isWhole: false, isSure: true });
  }

  /** 8.2.5: what it names goes, else the oldest. */
  #mark({ number, unused }: Pick<Slice, 'number' | 'unused'>, sequence: Sequence): void {
    const references = this.#references ?? [];
    const limit = 2 ** sequence.numberBits;
    for (const distance of unused ?? []) {
      const at = references.findIndex((one) => one.number === (number - distance + limit) % limit);
      if (at >= 0) references.splice(at, 1);
    }
    if (!unused && references.length >= Math.max(1, sequence.maxReferences)) references.shift();
  }

  #slicesOf(picture: Buffer): (Slice | undefined)[] {
    return [...nalUnits(picture, () => false)]
      .filter((nal) => isSlice(nal[0] ?? 0))
      .map((nal) => {
        const parameters = this.#parameters.get(parametersOf(nal));
        const sequence = parameters && this.#sequences.get(parameters.sequence);
        return sequence && readSlice(nal, sequence, parameters);
      });
  }

  /** 8.2.1.1 */
  #placeOf({ low }: Slice, { placeBits }: Sequence, isReference: boolean): number | undefined {
    if (low === undefined || placeBits === undefined) return undefined;
    const span = 2 ** placeBits;
    let high = this.#high;
    if (low < this.#low && this.#low - low >= span / 2) high += span;
    else if (low > this.#low && low - this.#low > span / 2) high -= span;
    if (isReference) [this.#high, this.#low] = [high, low];
    return high + low;
  }

  #break(): Verdict {
    this.forget();
    return 'broken';
  }

  forget(): void {
    this.#references = undefined;
  }
}

/** Also of a stream that says of none that it goes. */
function keep(references: Reference[], one: Reference): void {
  references.push(one);
  if (references.length > MAX_KEPT) references.shift();
}

/** Whether all of a slice's references are whole, so that it is. @param place of its picture */
function isBuilt(
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
    // Where the place of one is not known, neither is the order.
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

/** The usual order of a B picture's two lists, from the nearest (8.2.4.2.3); none where a place is not known. */
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
