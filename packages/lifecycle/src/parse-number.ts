import { InvalidArgumentError } from 'commander';

/**
 * The parser of a command line's number.
 * @param must what it must be, for a person
 * @example
 * numberThat((value) => value > 0, 'a number above 0')('2.5'); // => 2.5
 */
export function numberThat(fits: (value: number) => boolean, must: string): (text: string) => number {
  return (text) => {
    // JavaScript takes an empty text for 0.
    const value = text.trim() ? Number(text) : Number.NaN;
    if (fits(value)) return value;
    throw new InvalidArgumentError(`must be ${must}`);
  };
}
