/** When a stream is read: a span of each day, which may cross midnight. */
export interface ActiveHours {
  /** `08:00-18:30`, `22:00-06:00`; the end is exclusive. */
  span: string;
  /** Name in the IANA time-zone database: `Europe/Paris`. */
  timeZone: string;
}

export const HOURS_PATTERN = /^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$/;

/** @returns a function that says whether a time, epoch milliseconds, is in the span */
export function activeHours({ span, timeZone }: ActiveHours): (at: number) => boolean {
  const [from = '', to = ''] = span.split('-');
  const clock = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  return (at) => {
    const now = clock.format(at);
    return from < to ? from <= now && now < to : from <= now || now < to;
  };
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
