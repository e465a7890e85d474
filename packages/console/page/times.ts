/** Times of forms and addresses. The reader's clock may be set back or forward: the address keeps the exact time. */

/** `2026-11-25T07:00:00`, in the reader's time zone, in the format of forms. */
export function localTime(epochMs: number): string {
  return new Date(epochMs).toLocaleString('sv').replace(' ', 'T');
}

/** In the format of addresses. */
export function exactTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/**
 * The time in a form's field, in the format of addresses; empty if there is none.
 * @param local the field's value @param exact the time that filled the field: a local time may occur twice
 */
export function timeOfField(local: string, exact = ''): string {
  const time = Date.parse(local);
  if (Number.isNaN(time)) return '';
  const filled = Date.parse(exact);
  return !Number.isNaN(filled) && Date.parse(localTime(filled)) === time ? exact : exactTime(time);
}

/** The reader's day with this time, epoch ms; `to` is not included. It may be longer or shorter than 24 hours. */
export function dayOf(time: number): { from: number; to: number } {
  const date = new Date(time);
  const begin = (days: number) =>
    new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
  return { from: begin(0), to: begin(1) };
}
