import { InvalidArgumentError } from 'commander';

/** Reads an option's value. @throws InvalidArgumentError */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('must be a whole number from 1 on.');
  }
  return value;
}

/** Reads frames a second. @throws InvalidArgumentError */
export function frameRate(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 240)) throw new InvalidArgumentError('must be over 0, and 240 at most.');
  return value;
}

/** npm starts scripts in the repository's root. A relative path is relative to the folder in which npm was called. */
export const DIRECTORY = process.env.INIT_CWD ?? process.cwd();

/** Rows as lines, the first column to the left and the others to the right. */
export function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}
