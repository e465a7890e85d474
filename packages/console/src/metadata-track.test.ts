import { expect, test } from 'vitest';
import { metadataTrackOf } from './metadata-track.ts';

const HOUR = Date.UTC(2026, 10, 25, 7);
const frame = (offset: number, frame_number: number, class_name = 'person') => ({
  ...{
    stream_id: 'gate',
    session: 's',
    model: 'm',
    width: 400,
    height: 300,
    captured_at: HOUR + offset,
    frame_number,
  },
  detections: [
    { class_id: 0, class_name, confidence: 0.9, bbox: [1, 2, 3, 4] as [number, number, number, number] },
  ],
});

test('the metadata track has a cue for each frame, in the media time of its segment', () => {
  const text = metadataTrackOf([frame(60_100, 2), frame(60_000, 1), frame(60_100, 3)], HOUR + 60_000);
  const cues = text.split('\n\n').slice(1);
  expect(text).toMatch(/^WEBVTT\n\n/);
  expect(cues.map((cue) => cue.split('\n')[0])).toEqual([
    '00:01:00.000 --> 00:01:00.100',
    '00:01:00.100 --> 00:01:00.101',
    '00:01:00.100 --> 00:01:00.200',
  ]);
  expect(JSON.parse(cues[0]?.split('\n')[1] ?? '')).toEqual({
    captured_at: HOUR + 60_000,
    frame_number: 1,
    width: 400,
    height: 300,
    detections: frame(0, 0).detections,
  });
});

test('class names can not end a cue, and times continue after an hour', () => {
  const text = metadataTrackOf([frame(3_600_050, 1, 'a --> b\n\nc')], HOUR + 3_599_900);
  expect(text.split('\n\n')).toHaveLength(2);
  expect(text.match(/-->/g)).toHaveLength(1);
  expect(text).toContain('01:00:00.050 --> 01:00:00.150');
  expect(JSON.parse(text.split('\n')[3] ?? '').detections[0].class_name).toBe('a --> b\n\nc');
});
