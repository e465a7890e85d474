import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { documents } from '../support/documents.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

/** Commands for AWS: test/infra/documented.test.ts runs them with what stands in for it. */
const OF_AWS = { file: 'docs/deploy.md', command: /^npm run deploy /m };
/** Commands that other files run: the file, and words by which they are found there. */
export const ELSEWHERE: Record<string, readonly [file: string, has: string]> = {
  'npm install && npm start': ['test/bare-machine.sh', 'npm install'],
  'npm test': ['.ci/run', 'npm test'],
  'npm start -- --model yolov8n.onnx': ['test/e2e/start.test.ts', "'--model'"],
  'npm start -- --brokers 3': ['test/faults/cluster.test.ts', 'brokers: 3'],
  'OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 npm start': [
    'test/e2e/stack.test.ts',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ],
  "npm run probe -- --discover --user 'admin:${CAMERA_PASSWORD}'": [
    'ingest-host/src/onvif.test.ts',
    'discover(',
  ],
  "npm run probe -- 'onvif://admin:${CAMERA_PASSWORD}@10.0.0.7'": [
    'ingest-host/src/onvif.test.ts',
    'profilesOf(',
  ],
  'npm run bench:search': ['package.json', '"bench:search"'],
  'ffplay http://127.0.0.1:8080/api/streams/gate/video/date=2026-11-25/hour=07/index.m3u8': [
    'test/e2e/video-playback.test.ts',
    'index.m3u8',
  ],
};

export interface Run {
  prints: RegExp;
  /** It runs until it is stopped: by Ctrl-C, once it has printed that. */
  endless?: true;
  /** The file that it writes, and what the file begins with. */
  writes?: readonly [file: string, begin: RegExp];
}

const SEARCH_CSV = /^stream_id,.*captured_at/m;
/** Commands that run here, beside a stack that has stored some frames. */
export const BESIDE: Record<string, Run> = {
  'npm run local -- up': { prints: /http/ },
  'npm run local -- console': { prints: /^http:\/\/127\.0\.0\.1:\d+/m },
  'npm run local -- kafka-stats': { prints: /video-frames/ },
  'npm run local -- test-inference': { prints: /test-inference\.jpg/ },
  'npm run local -- s3-list': { prints: /annotated\/yard\// },
  'npm run local -- env': { prints: /AWS_ENDPOINT_URL=/ },
  'npm run producer -- --rtsp-url rtsp://camera/stream --kafka-bootstrap localhost:9092 --kafka-topic video-frames':
    { prints: /"FramesPublished":\[?[1-9]/, endless: true },
  'npm run probe -- rtsp://camera/stream': { prints: /h264/ },
  'npm run probe -- rtsp://admin:p%40ss@10.0.0.7/h264': { prints: /h264/ },
  'npm run audit': { prints: /accounted/ },
  'npm run audit -- --ingest-log .data/logs/ingest.log': { prints: /accounted/ },
  'npm run failed -- list': { prints: /nothing has failed/ },
  'npm run -s failed -- show failed/detect/video-frames-3-4711 | node -p "JSON.parse(fs.readFileSync(0)).record.value" | base64 -d > frame.jpg':
    { prints: /the stack on/, writes: ['frame.jpg', /^\xff\xd8\xff/] },
  'npm run cameras -- list': { prints: /yard/ },
  'npm run scene -- replay --stream yard --streams edited.yaml --from ... --to ...': {
    prints: /[1-9]\d* frames of 'yard'/,
  },
  'npm run scene -- replay --stream gate --streams edited.yaml --from 2026-11-25T00:00:00Z --to 2026-11-26T00:00:00Z':
    { prints: /frames of 'gate'/ },
  'npm run scene -- replay --stream gate --streams edited.yaml detections.ndjson --json': {
    prints: /0 frames of 'gate'/,
  },
  'npm run search -- --class person --from 2026-11-25T07:00:00Z --format csv': { prints: SEARCH_CSV },
  'npm run search -- --class person --class dog --from 2026-11-25T07:00:00Z --to 2026-11-25T08:00:00Z --format csv':
    { prints: /./ },
  'npm run -s search -- --zone lawn --one-per-track --format parquet > visitors.parquet': {
    prints: /frames|done/,
    writes: ['visitors.parquet', /^PAR1/],
  },
  'npm run -s search -- --stream yard --track mjx0f2a8-0 --format coco > yard.json': {
    prints: /frames|done/,
    writes: ['yard.json', /^\{"/],
  },
  'npm run -s search -- --class dog --format yolo-tar > dogs.tar': {
    prints: /frames|done/,
    writes: ['dogs.tar', /^(images|data\.yaml)/],
  },
  'npm run compact -- --once': { prints: /compacted/ },
  'npm run replay -- --from 2026-11-25T07:00:00Z --to 2026-11-25T08:00:00Z': { prints: /./ },
  [[
    'eval "$(npm run -s local -- env)"',
    'export CONSOLE_PORT=8081 STREAMS_FILE=.data/streams.json',
    'export CONSOLE_TOKEN_FILE=token CONSOLE_URL=https://cameras.example/video',
    'npm run console',
  ].join('\n')]: { prints: /the console asks for this token, kept in \S*\/token: \S{32}/, endless: true },
  'PORT=8001 npm run model -- --model candidate.onnx': { prints: /"serving"/, endless: true },
};
/** Commands that start a stack of their own. */
export const STARTS: Record<string, Run> = {
  'npm start -- --help': { prints: /--source/ },
  "npm start -- --source 'rtsp://user:${PASSWORD}@camera/stream'": { prints: /console: http/, endless: true },
  'npm start -- --source @camera.txt': { prints: /console: http/, endless: true },
  "npm start -- --source 'recordings/*.mp4'": { prints: /annotated/ },
  'npm start -- --frames 300 --json': { prints: /"annotated": ?\d+/ },
  'INFERENCE_CANARY_URL=http://127.0.0.1:8001 INFERENCE_CANARY_MODE=shadow INFERENCE_CANARY_SHARE=1 npm start':
    { prints: /console: http/, endless: true },
  'MQTT_URL=mqtts://broker.example MQTT_USERNAME=pipeline MQTT_PASSWORD=... STREAMS_FILE=streams.yaml npm start':
    { prints: /console: http/, endless: true },
};

/** A line that changes the shell, for the lines below it in its block. */
const PREPARES = /^(export |eval |[A-Z_]+=\S*$)/;

/** The commands of the blocks of a document, each below the lines of its block that prepare the shell for it. */
function commandsOf(file: string): string[] {
  const blocks = [...read(file).matchAll(/^\s*```(?:bash|sh)\n(.*?)^\s*```/gms)];
  return blocks.flatMap(([, text = '']) => {
    const lines = text.split('\n').flatMap((line) => line.replace(/\s+#\s.*$/, '').trim() || []);
    const before = (at: number) => lines.slice(0, at).filter((line) => PREPARES.test(line));
    return lines.flatMap((line, at) => (PREPARES.test(line) ? [] : [[...before(at), line].join('\n')]));
  });
}

const ofOneMachine = documents.filter((file) => file !== OF_AWS.file).flatMap(commandsOf);
/** The commands in blocks of shell of all documents, but for those of AWS. */
export const documented = new Set(ofOneMachine.filter((command) => !OF_AWS.command.test(command)));
