import { numberThat } from '@video-pipeline/lifecycle/parse-number';

export const positiveInteger = numberThat(
  (value) => Number.isSafeInteger(value) && value >= 1,
  'a whole number from 1 on.',
);

/** Frames a second. */
export const frameRate = numberThat((value) => value > 0 && value <= 240, 'over 0, and 240 at most.');

/** Kafka keeps frames for a day, and the audit looks for their pictures. */
export const keepDays = numberThat(
  (value) => Number.isSafeInteger(value) && value >= 2,
  'a whole number from 2 on.',
);

/** npm starts scripts in the repository's root. A relative path is relative to the folder in which npm was called. */
export const DIRECTORY = process.env.INIT_CWD ?? process.cwd();

/**
 * Rows as lines, below a head: texts and the first column to the left, numbers to the right.
 * @example
 * aligned([['stage', 'lag'], ['detect', '38']]); // => ['stage   lag', 'detect   38']
 */
export function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const isText = (column: number) =>
    column === 0 || rows.slice(1).some((row) => !/^(-|[\d.,]+( \w+)?)$/.test(row[column] ?? ''));
  const padded = (cell: string, column: number) =>
    isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(padded).join('  ').trimEnd());
}
