import { CLOCK_RATE, type Clip } from './clip.ts';
import { PAYLOAD_TYPE } from './rtp.ts';

/** Name of the one track, after the camera's URL. */
export const TRACK = 'trackID=0';

/** Session description of a camera: RFC 4566, RTSP's use of it in RFC 2326 appendix C, H.264's in RFC 6184, 8.2.1. */
export function describeClip(name: string, host: string, { sps, pps, units, duration }: Clip): string {
  const frameRate = (units.length * CLOCK_RATE) / duration;
  const format = [
    'packetization-mode=1',
    `profile-level-id=${sps.toString('hex', 1, 4)}`,
    `sprop-parameter-sets=${sps.toString('base64')},${pps.toString('base64')}`,
  ];
  return describeTrack(name, host, [
    `m=video 0 RTP/AVP ${PAYLOAD_TYPE}`,
    `a=rtpmap:${PAYLOAD_TYPE} H264/${CLOCK_RATE}`,
    `a=fmtp:${PAYLOAD_TYPE} ${format.join(';')}`,
    `a=framerate:${Number(frameRate.toFixed(3))}`,
  ]);
}

/** @param track lines of the one track */
export function describeTrack(name: string, host: string, track: readonly string[]): string {
  const family = host.includes(':') ? 'IP6' : 'IP4';
  return [
    'v=0',
    `o=- 0 0 IN ${family} ${host}`,
    `s=${name}`,
    `c=IN ${family} ${family === 'IP4' ? '0.0.0.0' : '::'}`,
    't=0 0',
    'a=control:*',
    ...track,
    `a=control:${TRACK}`,
    '',
  ].join('\r\n');
}
