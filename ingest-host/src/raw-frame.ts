/** FFmpeg's decoded picture. `Frame` is the record that is published. */
export { Frame as RawFrame } from 'node-av/lib';
