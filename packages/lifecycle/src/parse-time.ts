import { InvalidArgumentError } from 'commander';

const FORM = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * Parses a time on a command line, ISO 8601. A date alone is midnight in UTC. A time without a zone is local time.
 * @example
 * parseTime('2026-11-25').toISOString(); // => '2026-11-25T00:00:00.000Z'
 */
export function parseTime(text: string): Date {
  const [, day = ''] = FORM.exec(text) ?? [];
  const date = new Date(text);
  // JavaScript takes February 30th for March 2nd.
  if (day && new Date(day).toJSON()?.startsWith(day) && !Number.isNaN(date.getTime())) return date;
  throw new InvalidArgumentError('not a time such as 2026-11-25T07:30:00Z');
}

/** @throws InvalidArgumentError for an empty time range: finding nothing in it would look like a result */
export function checkRange({ from, to }: { from?: Date | undefined; to?: Date | undefined }): void {
  if (from && to && from >= to) throw new InvalidArgumentError('--from must be before --to');
}
