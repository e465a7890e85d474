import { InvalidArgumentError } from 'commander';

/** Parses a time of the command line, ISO 8601. */
export function parseTime(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError('not a time such as 2026-11-25T07:30:00Z');
  return date;
}
