/** `2026-11-25T07-00-00Z`, `20261125_070000`, `2026-11-25/07.00.00.250`, and Frigate's `2026-11-25/07/yard/00.10`. */
const NAMES = [
  /(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[T /_.-]*(\d\d)[-:._h]?(\d\d)[-:._m]?(\d\d)(?:[.,](\d{1,3}))?(?: ?(Z|[+-]\d\d:?\d\d))?(?!\d)/,
  /(?<!\d)(20\d\d)-(\d\d)-(\d\d)\/(\d\d)\/[^/]+\/(\d\d)\.(\d\d)()()\.\w+$/,
];
/** Seconds or milliseconds since 1970 as the whole name, or at its end. */
const EPOCH = /(?<![\d.])(1[0-9]{9})(\d{3})?(?:\.\d+)?\.\w+$/;

/**
 * The start of a recording from its path: the first date with a time of day. A path without a time zone is in this
 * machine's time zone. Frigate's paths are in UTC.
 * @returns epoch milliseconds; undefined if the path holds no time, or a time in the future
 */
export function timeOfFileName(path: string): number | undefined {
  const [found, frigate] = NAMES.map((pattern) => pattern.exec(path));
  const epoch = EPOCH.exec(path);
  const at = found
    ? timeOf(found, found[8])
    : frigate
      ? timeOf(frigate, 'Z')
      : epoch
        ? Number(epoch[1] + (epoch[2] ?? '000'))
        : Number.NaN;
  return at <= Date.now() ? at : undefined;
}

function timeOf([, year, month, day, hour, minute, second, part = '']: RegExpExecArray, zone = ''): number {
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${part.padEnd(3, '0')}${zone}`);
}
