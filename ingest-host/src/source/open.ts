import { FFmpegSource } from './ffmpeg-source.ts';
import { openFile } from './file.ts';
import { HttpGate } from './http-gate.ts';
import { DEMUXERS, MAX_TRACKS } from './limits.ts';
import type { Opener, Source, SourceOptions } from './source.ts';
import { SourceError } from './source-error.ts';

/** How far ahead a source is read that doesn't say at once what it carries. FFmpeg takes 5 s, and 90 s for RTMP's FLV. */
const MAX_ANALYZE_SECONDS = 1;

/** What opens a URL, by its scheme; anything else is a file's path. */
const OPENERS = new Map<string, Opener>([
  ['file', openFile],
  ['http', openHttp],
  ['https', openHttp],
  ['rtsp', openRtsp],
  ['rtsps', openRtsp],
  ['rtmp', (url, options, signal) => openPlain('rtmp,tcp', url, options, signal)],
  ['rtmps', (url, options, signal) => openPlain('rtmps,tls,tcp', url, options, signal)],
  ['srt', (url, options, signal) => openPlain('srt', url, options, signal)],
]);

/**
 * Opens what a stream's URL names.
 * @throws SourceError
 */
export async function openSource(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  // FFmpeg's binding does not survive it.
  if (url === '') throw new SourceError('open: no URL', true);
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase();
  const opener = scheme === undefined ? openFile : OPENERS.get(scheme);
  if (!opener) throw new SourceError(`open: no source is named by ${scheme}:`, true);
  return await opener(url, options, signal);
}

async function openHttp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const gate = await HttpGate.open(parsed(url), options.hosts);
  const protocol = {
    http_proxy: gate.proxy,
    // Segments of a list one after the other, for what they cost is counted.
    http_multiple: '0',
    // Without it FFmpeg 8.1 takes a connection that ended for one that goes on, and reads no MP4 whose index is last.
    multiple_requests: '1',
  };
  return await FFmpegSource.open(
    {
      ...foreign(url, 'http,https,tls,tcp,httpproxy,crypto', options, protocol),
      gate,
      onPacket: () => gate.onPacket(),
      // A list with an end, a container with its length, and an answer with its own have said that they end.
      hasEnd: (duration) => duration > 0 || gate.hasLength,
    },
    signal,
  );
}

async function openRtsp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const { transport, timeoutSeconds, audio } = options;
  return await FFmpegSource.open(
    foreign(url, 'rtsp,rtp,srtp,udp,tcp,tls', options, {
      format_whitelist: 'rtsp',
      ...(transport === 'auto'
        ? { rtsp_transport: 'tcp+udp', rtsp_flags: 'prefer_tcp' }
        : { rtsp_transport: transport }),
      timeout: String(Math.round(timeoutSeconds * 1e6)),
      allowed_media_types: audio ? 'video+audio' : 'video',
    }),
    signal,
  );
}

async function openPlain(
  protocols: string,
  url: string,
  options: SourceOptions,
  signal?: AbortSignal,
): Promise<Source> {
  return await FFmpegSource.open(foreign(url, protocols, options, {}), signal);
}

/** What FFmpeg is to open of a network, and no more than that. */
function foreign(
  url: string,
  protocols: string,
  { timeoutSeconds, track }: SourceOptions,
  more: Record<string, string>,
) {
  const options = {
    protocol_whitelist: protocols,
    format_whitelist: DEMUXERS,
    // Only our own decoder opens, which has limits; FFmpeg would open one to look ahead.
    codec_whitelist: 'none',
    max_streams: String(MAX_TRACKS),
    probesize: '1000000',
    rw_timeout: String(Math.round(timeoutSeconds * 1e6)),
    analyzeduration: String(1e6 * MAX_ANALYZE_SECONDS),
    ...more,
  };
  return { url, options, foreign: true, ...(track === undefined ? {} : { track }) };
}

function parsed(url: string): URL {
  const address = URL.parse(url);
  if (!address) throw new SourceError('open: not a URL', true);
  return address;
}
