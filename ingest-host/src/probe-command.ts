import { writeFile } from 'node:fs/promises';
import { expandVariables, readConfig, readSourceUrl } from '@video-pipeline/config';
import { exitWithError } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { redact } from '@video-pipeline/telemetry';
import { Command, Option } from 'commander';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { runDiscover, runOnvif } from './onvif-command.ts';
import { type ProbeClock, type ProbeReport, probe } from './probe.ts';
import { fileOf } from './source/file.ts';
import { TRANSPORTS, type Transport } from './source/source.ts';
import { SourceError } from './source/source-error.ts';

interface Options {
  transport: Transport;
  seconds: number;
  timeout: number;
  jpeg?: string;
  discover?: string | true;
  user?: string;
  json: boolean;
}

const positive = numberThat((value) => value > 0 && value <= 3600, 'over 0, and at most 3600.');

await new Command('npm run probe --')
  .description(
    'Print codec, size, rate and clock of a camera or file, and write one JPEG of it, by the same code as ingest.',
  )
  .argument(
    '[url]',
    'rtsp(s), http(s), srt or rtmp URL, or a path; onvif://host lists the streams of a camera; special characters in a password percent-encoded; ' +
      `to keep a password out of ps, write '\${NAME}' for a variable in it, or @file for a file with the URL`,
  )
  .addOption(
    new Option('--transport <name>', 'how RTSP carries the packets; auto is TCP, else UDP')
      .choices(TRANSPORTS)
      .default('tcp'),
  )
  .option('--discover [host]', 'list the ONVIF cameras of this network, or at host[:port], and their streams')
  .option(
    '--user <name:password>',
    `login that --discover uses to ask for the streams; '\${NAME}' in it is a variable`,
  )
  .option('--seconds <number>', 'how long to watch, or to wait for cameras', positive, 5)
  .option('--timeout <number>', 'longest wait for a picture, seconds', positive, 10)
  .option('--jpeg <file>', 'where to write the picture (default: probe-<host or file>.jpg)')
  .option('--json', 'print one JSON object', false)
  .addHelpText('after', '\nThe picture is made as ingest makes it, by JPEG_QUALITY and MAX_FRAME_BYTES.')
  .action(run)
  .parseAsync()
  .catch(exitWithError);

async function run(given: string | undefined, options: Options, command: Command): Promise<void> {
  const onMissing = (name: string) => {
    throw new SourceError(`needs the variable ${name}, which is not set`);
  };
  if (options.discover) {
    const user = options.user?.replace(/\$\{\w+\}/g, (reference) => expandVariables(reference, onMissing));
    return await runDiscover(options.discover, { ...options, ...(user ? { user } : {}) });
  }
  if (given === undefined) command.error("error: missing argument 'url', or --discover");
  const url = expandVariables(readSourceUrl(given), onMissing);
  if (/^onvif:/i.test(url)) return await runOnvif(url, options.json);
  // FFmpeg writes URLs, passwords included.
  Log.setLevel(AV_LOG_QUIET);
  const { MAX_FRAME_BYTES, JPEG_QUALITY } = readConfig(['MAX_FRAME_BYTES', 'JPEG_QUALITY']);
  const report = await probe(url, {
    ...options,
    timeoutSeconds: options.timeout,
    maxFrameBytes: MAX_FRAME_BYTES,
    quality: JPEG_QUALITY,
  }).catch((error: unknown) => {
    throw error instanceof SourceError ? new SourceError(`${redact(url)}: ${error.message}`) : error;
  });
  const path = options.jpeg ?? `probe-${nameOf(url)}.jpg`;
  await writeFile(path, report.jpeg.jpeg);
  const { jpeg, ...facts } = report;
  const picture = { path, width: jpeg.width, height: jpeg.height, bytes: jpeg.jpeg.length };
  const transport = transportOf(url, options.transport);
  if (options.json) console.log(JSON.stringify({ url: redact(url), transport, ...facts, jpeg: picture }));
  else {
    console.log(redact(url));
    for (const [name, text] of describe(report, transport, options.seconds))
      console.log(`${name.padEnd(12)}${text}`);
    console.log(`${'picture'.padEnd(12)}${path}, ${picture.width}x${picture.height}, ${picture.bytes} bytes`);
  }
}

/** Part of a file name: the camera's host, or the video file's name. */
function nameOf(url: string): string {
  const file = fileOf(url);
  const name = file
    ? file.path.split('/').at(-1)
    : redact(url)
        .replace(/^.*:\/\/(\*\*\*@)?/, '')
        .split(/[/?]/)[0];
  return name?.replace(/[^\w.-]+/g, '-') || 'picture';
}

function transportOf(url: string, transport: Transport): string {
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined || scheme === 'file') return 'file';
  return scheme.startsWith('rtsp') ? `${scheme} over ${transport}` : scheme;
}

function describe(report: ProbeReport, transport: string, seconds: number): [string, string][] {
  const { codec, profile, level, width, height, pixelFormat, audio, packets, pictures } = report;
  return [
    [
      'video',
      [[codec, profile, level].filter(Boolean).join(' '), `${width}x${height}`, pixelFormat]
        .filter(Boolean)
        .join(', '),
    ],
    ['rate', rateText(report)],
    ['pictures', `${pictures} decoded of ${packets} that came`],
    ['key frames', keyFrameText(report)],
    ['bit rate', report.bitsPerSecond ? `${(report.bitsPerSecond / 1e6).toFixed(2)} Mbit/s` : 'unknown'],
    ['transport', transport],
    ['audio', audio.length > 0 ? `${audio.join(', ')} (ingest leaves it out)` : 'none'],
    ['clock', transport === 'file' ? 'the time of reading: it is a file' : clockText(report.clock, seconds)],
  ];
}

function rateText({ measuredFps, announcedFps, longestGapSeconds = 0 }: ProbeReport): string {
  const announced = announcedFps ? `${announcedFps.toFixed(2)} announced` : 'none announced';
  if (!measuredFps) return `one picture only, ${announced}`;
  return `${measuredFps.toFixed(2)} frames/s, ${announced}, longest gap ${Math.round(longestGapSeconds * 1000)} ms`;
}

function keyFrameText({ keyFrameIntervalSeconds }: ProbeReport): string {
  return keyFrameIntervalSeconds
    ? `every ${keyFrameIntervalSeconds.toFixed(2)} s`
    : 'only one while watching';
}

function clockText({ source, offsetMs }: ProbeClock, seconds: number): string {
  if (offsetMs === undefined) return `arrival (no RTCP sender report within ${seconds} s)`;
  const offset = `${Math.abs(offsetMs / 1000).toFixed(2)} s ${offsetMs < 0 ? 'before' : 'after'} arrival`;
  return source === 'rtcp'
    ? `RTCP sender reports, ${offset}`
    : `arrival (its RTCP clock is not set: ${offset})`;
}
