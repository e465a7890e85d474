import type { Socket } from 'node:net';
import { ConfigError, readConfig, type VariableName, variables } from '@video-pipeline/config';
import { checkpointOf, decodeSeenFrame, type Frame, InvalidRecordError } from '@video-pipeline/frame';
import { HttpError } from '@video-pipeline/http';
import { PictureError, readPictureHeader } from '@video-pipeline/picture';
import { parseSceneEvent, parseScenes, putShape, removeShape, StreamsError } from '@video-pipeline/scene';
import { parseMetrics, redact } from '@video-pipeline/telemetry';
import { InvalidArgumentError } from 'commander';
import { parseStreams } from '../../ingest-host/src/streams.ts';
import { readMetadata } from '../../model/src/model-metadata.ts';
import { decodeModel } from '../../model/src/onnx/schema.ts';
import { readInferRequest } from '../../model/src/server/open-inference-codec.ts';
import { createAuthenticator } from '../../packages/camera/src/auth.ts';
import { MalformedMessageError, parseRequest, RtspSplitter } from '../../packages/camera/src/rtsp-message.ts';
import { acceptTransport, type UdpPair } from '../../packages/camera/src/session.ts';
import { InferenceClientError } from '../../packages/inference-client/src/client.ts';
import { decodeResponse } from '../../packages/inference-client/src/open-inference.ts';
import { decodePredict } from '../../packages/inference-client/src/predict.ts';
import { parseTime } from '../../packages/lifecycle/src/parse-time.ts';
import { frameRate, positiveInteger } from '../../packages/local/src/command-line.ts';
import { FailedEntryError, parseFailed } from '../../packages/recovery/src/failed.ts';
import { decodeCursor } from '../../packages/tables/src/cursor.ts';

/** All parsers of foreign input. Each must return or throw an error of these classes, quickly. */
export interface Parser {
  parse(input: Buffer): unknown;
  errors: readonly (new (...args: never[]) => Error)[];
  /** A valid input. */
  good: string;
  /** Length of a large input, bytes. Default: 200,000. */
  bigBytes?: number;
}

const detection = { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 3, 4] };
const frame: Frame = {
  streamId: 'gate',
  frameNumber: 3,
  session: 's',
  capturedAt: 0,
  width: 640,
  height: 480,
  jpeg: Buffer.from('jpeg'),
};
/** Headers of a valid record of `detections`, without the detections. */
export const headers = {
  stream_id: 'gate',
  frame_number: '3',
  session: 's',
  captured_at: '0',
  width: '640',
  height: '480',
  model: 'nanodet',
};
const streams =
  '- id: gate\n  url: rtsp://cam/1\n  scene: {zones: {lawn: {polygon: [[0, 0], [1, 0], [1, 1]]}}}\n';
const rtsp =
  'SETUP rtsp://h/yard RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Digest username="u", nonce="n"\r\n\r\n';

const binaryHeader = JSON.stringify({
  inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], parameters: { binary_data_size: 8 } }],
});

export const parsers: Record<string, Parser> = {
  'the header of a picture': {
    parse: (bytes) => readPictureHeader(bytes, { maxPixels: 50_000_000 }),
    errors: [PictureError],
    good: '\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x10\x03\x01\x22\0\x02\x11\x01\x03\x11\x01',
  },
  'a header of a Kafka record': {
    parse: (value) =>
      decodeSeenFrame({
        key: 'gate',
        value: Buffer.from('x'),
        headers: { ...headers, detections: value },
      }),
    errors: [InvalidRecordError],
    good: JSON.stringify([detection]),
  },
  'a checkpoint': {
    parse: (at) => checkpointOf({ key: null, value: null, headers: { checkpoint_at: at, checkpoint: at } }),
    errors: [],
    good: 'video-frames-3:17',
  },
  'an event': {
    parse: parseSceneEvent,
    errors: [],
    good: JSON.stringify({
      event_id: '0'.repeat(32),
      type: 'count_over',
      rule: 'r',
      stream_id: 's',
      at: 1,
      frames: ['f'],
    }),
  },
  'the list of streams of ingest': {
    parse: (text) => parseStreams(text.toString(), { frameRate: 10, quality: 85 }, 'STREAMS'),
    errors: [StreamsError],
    good: streams,
    // The operator's own file.
    bigBytes: 20_000,
  },
  'the scenes of detect': {
    parse: (text) => parseScenes(text.toString(), 'STREAMS'),
    errors: [StreamsError],
    good: streams,
    // The operator's own file.
    bigBytes: 20_000,
  },
  "an inference server's answer": {
    parse: (json) => decodeResponse(json.toString(), [frame], 0.5),
    errors: [InferenceClientError],
    good: JSON.stringify({
      model_name: 'm',
      outputs: [
        { name: 'detections', data: [JSON.stringify({ width: 9, height: 9, detections: [detection] })] },
      ],
    }),
  },
  'the answer of /predict': {
    parse: (json) => decodePredict(json.toString(), [frame], 0.5),
    errors: [InferenceClientError],
    good: JSON.stringify({
      model: 'm',
      results: [{ frame_number: 3, width: 9, height: 9, detections: [detection] }],
    }),
  },
  'an Open Inference request in JSON': {
    parse: (body) => readInferRequest(body, undefined, 128),
    errors: [HttpError],
    good: JSON.stringify({
      id: '1',
      inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], data: ['/9j/'] }],
    }),
  },
  'a binary Open Inference request': {
    parse: (body) => readInferRequest(body, Math.min(body.length, binaryHeader.length), 128),
    errors: [HttpError],
    good: `${binaryHeader}\x04\0\0\0jpeg`,
  },
  "a model file's metadata": {
    parse: (text) => {
      const value = text.toString();
      return readMetadata(['names', 'stride', 'imgsz', 'iou', 'task'].map((key) => ({ key, value })));
    },
    errors: [],
    good: `{0: 'person', 1: "it's", 640: 'x'}`,
  },
  'a model file': {
    parse: (bytes) => decodeModel(bytes),
    // The reader of the file throws it as UnsupportedModelError.
    errors: [Error],
    good: '\x08\x08\x12\x01p\x3a\x03\x12\x01g',
  },
  'an RTSP connection': {
    parse(bytes) {
      const requests: unknown[] = [];
      const onMessage = ({ head }: { head: string }) => void requests.push(parseRequest(head));
      new RtspSplitter(() => {}, onMessage).push(bytes);
      return requests;
    },
    errors: [MalformedMessageError],
    good: rtsp,
  },
  'an RTSP transport': {
    parse(text) {
      const socket = { address: () => ({ port: 7000 }) };
      return acceptTransport(text.toString(), {} as Socket, { rtp: socket, rtcp: socket } as UdpPair);
    },
    errors: [],
    good: 'RTP/AVP;unicast;client_port=5000-5001',
  },
  "a camera's user": {
    parse: (text) =>
      createAuthenticator('u:p').accepts({
        ...parseRequest(rtsp.trim()),
        headers: { authorization: text.toString() },
      }),
    errors: [],
    good: 'Digest username="u", nonce="n", uri="x", response="y"',
  },
  'a place in a search': {
    parse: (text) => decodeCursor(text.toString()),
    errors: [],
    good: Buffer.from('["date=2026-11-25/hour=07",1,"k",2]').toString('base64url'),
  },
  'a log line with metrics': {
    parse: (text) => parseMetrics(text.toString()),
    errors: [],
    good: '{"_aws":{"CloudWatchMetrics":[]},"service":"detect","stream":"gate","FramesDetected":[1,2]}',
  },
  'an error that may hold a password': {
    parse: (text) => redact(text.toString()),
    errors: [],
    good: "can't open rtsp://u:p@cam/1?user=a",
  },
  'what was drawn on a picture': {
    parse(text) {
      const { name, polygon, from, to } = jsonOf(text);
      const drawn = { name: String(name), events: true };
      putShape(streams, 'gate', { kind: 'line', ...drawn, from, to }, 'STREAMS');
      return putShape(streams, 'gate', { kind: 'zone', ...drawn, polygon }, 'STREAMS');
    },
    errors: [StreamsError],
    good: '{"name": "bed", "polygon": [[0, 0], [1, 0], [1, 1]], "from": [0, 0], "to": [1, 1]}',
    // The limit of the console.
    bigBytes: 4_096,
  },
  'the name of a zone to be taken out': {
    parse: (name) => removeShape(streams, 'gate', { kind: 'zone', name: name.toString() }, 'STREAMS'),
    errors: [StreamsError],
    good: 'lawn',
  },
  'a record in failed/': {
    parse: (text) => parseFailed('failed/detect/video-frames-0-1', text.toString()),
    errors: [FailedEntryError],
    good: '{"stage":"detect","reason":"r","time":"","record":{"topic":"t","key":"","value":"","headers":[{"a":[1]}]}}',
  },
  'a variable of the environment': {
    parse(value) {
      const names = Object.keys(variables) as VariableName[];
      return readConfig(names, Object.fromEntries(names.map((name) => [name, value.toString()])));
    },
    errors: [ConfigError],
    good: '',
  },
  'a number on a command line': {
    parse: (text) => [positiveInteger(text.toString()), frameRate(text.toString())],
    errors: [InvalidArgumentError],
    good: '25',
  },
  'a time on a command line': {
    parse: (text) => parseTime(text.toString()),
    errors: [InvalidArgumentError],
    good: '2026-11-25T07:30:00Z',
  },
};

/** The body of a route. Text that is not JSON is rejected before. */
function jsonOf(text: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(text.toString()));
  } catch {
    return { name: text.toString(), polygon: text.toString() };
  }
}
