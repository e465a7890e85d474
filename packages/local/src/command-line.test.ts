import { expect, test } from 'vitest';
import { aligned } from './command-line.ts';

test('texts of a table begin below their head, and numbers end there', () => {
  const rows = [
    ['camera', 'state', 'fps', 'address'],
    ['yard', 'enabled', '-', 'rtsp://cam/1'],
    ['gate', 'disabled', '12.5', 'gate.mp4'],
  ];
  expect(aligned(rows)).toEqual([
    'camera  state      fps  address',
    'yard    enabled      -  rtsp://cam/1',
    'gate    disabled  12.5  gate.mp4',
  ]);
});
