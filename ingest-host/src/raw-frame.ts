/** A decoded picture as FFmpeg holds it; `Frame` is the record that travels. */
export { Frame as RawFrame } from 'node-av/lib';
