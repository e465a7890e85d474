import type { ServerResponse } from 'node:http';
import sharp from 'sharp';

/** Writes `bytes` again and again, as fast as the other end takes them. */
function pourOut(
  response: ServerResponse,
  type: string,
  first: string | Buffer,
  bytes: string | Buffer,
): void {
  response.writeHead(200, { 'content-type': type }).write(first);
  const more = () => {
    while (!response.destroyed && response.write(bytes));
  };
  response.on('drain', more).on('error', () => {});
  more();
}

/** A JPEG whose header has this width and height (ITU-T T.81, B.2.2). */
async function jpegClaiming(sides: number): Promise<Buffer> {
  const jpeg = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer();
  const header = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  jpeg.writeUInt16BE(sides, header + 5);
  jpeg.writeUInt16BE(sides, header + 7);
  return jpeg;
}

const part = (jpeg: Buffer, length = jpeg.length) =>
  Buffer.concat([
    Buffer.from(`--b\r\nContent-Type: image/jpeg\r\nContent-Length: ${length}\r\n\r\n`),
    jpeg,
    Buffer.from('\r\n'),
  ]);
const MULTIPART = 'multipart/x-mixed-replace; boundary=b';
const OCTETS = 'application/octet-stream';
const HLS = 'application/vnd.apple.mpegurl';

/** Responses of a hostile camera to an HTTP request, and the error that ingest reports for each. */
export const cameraAnswers: Record<string, [behave: (response: ServerResponse) => void, error: RegExp]> = {
  'WebVTT without end': [
    (response) => pourOut(response, 'text/vtt', 'WEBVTT\n\n', '00:01.000 --> 00:02.000\nx\n\n'.repeat(2000)),
    /formats that cameras use/,
  ],
  'SubRip without end': [
    (response) => pourOut(response, OCTETS, '', '1\n00:00:01,000 --> 00:00:02,000\nx\n\n'.repeat(2000)),
    /formats that cameras use/,
  ],
  'a script without end': [
    (response) => pourOut(response, OCTETS, 'ffconcat version 1.0\n', 'file a\n'.repeat(5000)),
    /formats that cameras use/,
  ],
  'an SDP without end': [
    (response) => pourOut(response, 'application/sdp', 'v=0\r\n', 'm=video 0 RTP/AVP 96\r\n'.repeat(2000)),
    /open: |KiB without a picture/,
  ],
  'a list without end': [
    (response) =>
      pourOut(response, HLS, '#EXTM3U\n#EXT-X-TARGETDURATION:2\n', '#EXTINF:2,\na.ts\n'.repeat(2000)),
    /KiB without a picture|no picture for \d+ s/,
  ],
  'a list of twenty thousand lists': [
    (response) =>
      response.req.url?.includes('.m3u8')
        ? response.end('#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n')
        : response
            .writeHead(200, { 'content-type': HLS })
            .end(
              `#EXTM3U\n${Array.from({ length: 20_000 }, (_, index) => `#EXT-X-STREAM-INF:BANDWIDTH=1\n/${index}.m3u8\n`).join('')}`,
            ),
    /KiB without a picture|no picture for \d+ s/,
  ],
  'JPEGs of 16000x16000': [
    async (response) => pourOut(response, MULTIPART, '', part(await jpegClaiming(16_000))),
    /over 20 million pixels/,
  ],
  'a JPEG of 2 GB': [
    (response) =>
      pourOut(response, MULTIPART, part(Buffer.from([0xff, 0xd8]), 2e9), Buffer.alloc(100_000, 7)),
    /KiB without a picture|no picture for \d+ s/,
  ],
  'a JPEG without end': [
    (response) =>
      pourOut(response, MULTIPART, '--b\r\nContent-Type: image/jpeg\r\n\r\n', Buffer.alloc(100_000, 7)),
    /KiB without a picture|no picture for \d+ s/,
  ],
  'a JPEG of three thousand scans': [
    async (response) => {
      const jpeg = await sharp({ create: { width: 2000, height: 2000, channels: 3, background: 'teal' } })
        .jpeg({ progressive: true })
        .toBuffer();
      const [scan, end] = [jpeg.lastIndexOf(Buffer.from([0xff, 0xda])), jpeg.length - 2];
      const scans = Buffer.concat(Array.from({ length: 3000 }, () => jpeg.subarray(scan, end)));
      pourOut(
        response,
        MULTIPART,
        '',
        part(Buffer.concat([jpeg.subarray(0, end), scans, jpeg.subarray(end)])),
      );
    },
    /over 32 scans/,
  ],
  'one picture of H.264 without end': [
    (response) =>
      pourOut(
        response,
        OCTETS,
        Buffer.from('0000000167420015ab4050000000016843000000000165', 'hex'),
        Buffer.alloc(100_000, 7),
      ),
    /without a picture|formats that cameras use|no video stream|no picture for \d+ s/,
  ],
  'an index of 1 GB': [
    (response) => {
      const boxes = Buffer.from('0000001866747970697336d0000000006973366d6973366d400000006d6f6f76', 'hex');
      pourOut(
        response,
        'video/mp4',
        boxes,
        Buffer.concat([Buffer.from('000186a066726565', 'hex'), Buffer.alloc(99_992)]),
      );
    },
    /without a picture|no video stream|no picture for \d+ s/,
  ],
};

/** Answers a request for `/<index>` as the camera of that index in {@link cameraAnswers} does. */
export function answerAsCamera(path: string | undefined, response: ServerResponse): void {
  const [, index, rest] = /^\/(\d+)(\.m3u8)?/.exec(path ?? '') ?? [];
  response.on('error', () => {});
  if (rest) response.end('#EXTM3U\n');
  else Object.values(cameraAnswers)[Number(index)]?.[0](response);
}
