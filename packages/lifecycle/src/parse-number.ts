import { InvalidArgumentError } from 'commander';

/**
 * A parser for a number on the command line.
 * @param must the allowed numbers, for the error
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
