import { withHeaders } from './rtsp-headers.ts';

/** A time range of a recording in absolute time (RFC 2326, 3.7), as replays of ONVIF devices have it. */
export interface ClockRange {
  /** As in RTSP: `clock=20261125T070000Z-20261125T071000.5Z`. */
  text: string;
  /** Epoch milliseconds. */
  begin: number;
  seconds: number;
}

const RANGE = /^(?:#|a=range:)(clock=(\d{8}T\d{6}(?:\.\d+)?Z)-(\d{8}T\d{6}(?:\.\d+)?Z))/m;

/** The range that a session description, or the part of a URL after `#`, names; undefined unless it has an end. */
export function clockRange(source: string): ClockRange | undefined {
  const [, text = '', from = '', to = ''] = RANGE.exec(source) ?? [];
  const [begin, end] = [timeOf(from), timeOf(to)];
  return end > begin ? { text, begin, seconds: (end - begin) / 1000 } : undefined;
}

function timeOf(clock: string): number {
  return Date.parse(clock.replace(/^(....)(..)(..T..)(..)/, '$1-$2-$3:$4:'));
}

/**
 * Changes an answer's session description to positions from 0 (RFC 2326, 3.6): FFmpeg knows no absolute times.
 * @param body each character is a byte
 */
export function inPositions(head: string, body: string, { seconds }: ClockRange): string {
  const rest = body.replace(/^a=range:.*\r?\n/gm, '');
  const own = rest.replace(/^m=/m, `a=range:npt=0-${seconds}\r\nm=`);
  return `${withHeaders(head, { 'Content-Length': String(own.length) })}\r\n\r\n${own}`;
}
