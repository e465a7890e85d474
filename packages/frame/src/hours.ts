// Imports nothing: the console's page loads it, too.

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** Later years have a sign and six digits. They would sort before all others. */
const LAST_HOUR = Date.UTC(9_999, 11, 31, 23);

/**
 * Hive-style date and hour in UTC, so that Athena prunes by them: `date=2026-11-25/hour=07`. At most the year 9999.
 * @example
 * hourFolder(Date.UTC(2026, 10, 25, 7)); // => 'date=2026-11-25/hour=07'
 */
export function hourFolder(epochMs: number): string {
  const iso = new Date(Math.min(epochMs, LAST_HOUR)).toISOString();
  const time = iso.indexOf('T');
  return `date=${iso.slice(0, time)}/hour=${iso.slice(time + 1, time + 3)}`;
}
