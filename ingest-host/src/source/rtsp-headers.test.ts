import { expect, test } from 'vitest';
import { sessionOf, valuesOf, withHeaders } from './rtsp-headers.ts';

const HEAD = 'RTSP/1.0 200 OK\r\nCSeq: 3\r\nsession :\t12 ;timeout=60\r\nX-Session: 4\r\nSession: 5';

test('a header is found by its full name, with any white space around the colon', () => {
  expect(valuesOf(HEAD, 'session')).toEqual(['12 ;timeout=60', '5']);
  expect(sessionOf(HEAD)).toBe('12');
  expect(valuesOf('Session: 1', 'session')).toEqual(['1']);
  expect(valuesOf(HEAD, 'timeout')).toEqual([]);
});

test('a header is replaced in its place, or added after the first line', () => {
  expect(withHeaders('RTSP/1.0 200 OK\r\nSession\t: 1', { Session: '2', CSeq: '$&' })).toBe(
    'RTSP/1.0 200 OK\r\nCSeq: $&\r\nSession: 2',
  );
});
