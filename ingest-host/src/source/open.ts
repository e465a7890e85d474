import { AllowedHosts, portOf, refuseHost, withoutBrackets } from '@video-pipeline/outbound';
import { optionsOf } from './ffmpeg-options.ts';
import { FFmpegSource } from './ffmpeg-source.ts';
import { openFile } from './file.ts';
import { HttpGate } from './http-gate.ts';
import { DEMUXERS, MAX_TRACKS } from './limits.ts';
import { PacedSource } from './paced.ts';
import { isMulticast } from './rtp-udp.ts';
import { RtspGate } from './rtsp-gate.ts';
import type { Opener, Source, SourceOptions } from './source.ts';
import { SourceError } from './source-error.ts';

/** How far ahead a source is read that doesn't say at once what it carries. FFmpeg takes 5 s, and 90 s for RTMP's FLV. */
const MAX_ANALYZE_SECONDS = 1;
const MAX_REDIRECTS = 3;

/** What opens a URL, by its scheme; anything else is a file's path. */
const OPENERS = new Map<string, Opener>([
  ['file', openFile],
  ['http', openHttp],
  ['https', openHttp],
  ['rtsp', openRtsp],
  ['rtsps', openRtsp],
  ['rtmp', (url, options, signal) => openPlain('rtmp,tcp', url, options, signal)],
  ['rtmps', (url, options, signal) => openPlain('rtmps,tls,tcp', url, options, signal)],
  ['udp', openUdp],
  ['srt', (url, options, signal) => openPlain('srt', url, options, signal)],
]);

/** Schemes of URLs that a source is opened by. */
export const SCHEMES: readonly string[] = [...OPENERS.keys()];

/**
 * Opens what a stream's URL names.
 * @throws SourceError
 */
export async function openSource(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  // FFmpeg's binding does not survive it.
  if (url === '') throw new SourceError('open: no URL', true);
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase();
  const opener = scheme === undefined ? openFile : OPENERS.get(scheme);
  if (!opener) throw new SourceError(`open: '${scheme}:' is not known: ${SCHEMES.join(', ')} are`, true);
  return await opener(url, options, signal);
}

async function openHttp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const gate = await HttpGate.open(parsed(url), options);
  const protocol = {
    http_proxy: gate.proxy,
    // Segments of a list one after the other, for what they cost is counted.
    http_multiple: '0',
    // Without it FFmpeg 8.1 takes a connection that ended for one that goes on, and reads no MP4 whose index is last.
    multiple_requests: '1',
  };
  const source = await FFmpegSource.open(
    {
      ...foreign(gate.address, 'http,tcp,crypto', options, protocol),
      gate,
      onPacket: () => gate.onPacket(),
      // A list with an end and a container with its length have said that they end; so has an answer with its own, but
      // that a list's answer ends says nothing, and cameras that push JPEGs name any number.
      hasEnd: (duration, container) =>
        duration > 0 || (gate.hasLength && container !== 'hls' && container !== 'mpjpeg'),
    },
    signal,
  );
  return source.live && source.format.container === 'hls' ? new PacedSource(source, signal) : source;
}

async function openRtsp(given: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  let url = parsed(given);
  const hosts = new AllowedHosts(url, options.hosts);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const gate = await RtspGate.open(url, options);
    try {
      return await openThrough(gate, options, signal);
    } catch (error) {
      if (gate.location === undefined) throw error;
      url = redirected(gate.location, url, hosts);
    }
  }
  throw new SourceError(`open: it redirects more than ${MAX_REDIRECTS} times`, true);
}

async function openThrough(gate: RtspGate, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const { timeoutSeconds, audio } = options;
  const input = foreign(gate.address, 'rtsp,rtp,tcp', options, {
    format_whitelist: 'rtsp',
    rtsp_transport: 'tcp',
    timeout: String(Math.round(timeoutSeconds * 1e6)),
    allowed_media_types: audio ? 'video+audio' : 'video',
  });
  return await FFmpegSource.open({ ...input, gate, onPacket: () => gate.onPacket() }, signal);
}

/** @throws SourceError when the camera's place is left for one that nobody named */
function redirected(location: string, from: URL, hosts: AllowedHosts): URL {
  const to = URL.parse(location, from.href);
  if (!to) throw new SourceError('open: it redirects to what is not a URL', true);
  const place = `open: it leads to ${to.protocol}//${to.host}`;
  if (!hosts.allows(to.hostname, portOf(to))) {
    const which =
      to.hostname === from.hostname
        ? "another port of its host, which is not among 'hosts'"
        : "which is neither its own host nor among 'hosts'";
    throw new SourceError(`${place}, ${which}`, true);
  }
  if (!/^rtsps?:$/.test(to.protocol)) throw new SourceError(`${place}, which is not RTSP`, true);
  if (to.hostname === from.hostname && !to.username)
    [to.username, to.password] = [from.username, from.password];
  return to;
}

/** MPEG-TS that is sent to a port of this machine, or to a group (multicast) that it joins: `udp://@239.1.1.1:1234`. */
async function openUdp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const { hostname, port, searchParams } = parsed(url);
  const isGroup = isMulticast(withoutBrackets(hostname));
  // Listening on all addresses leads nowhere.
  if (!isGroup && !['0.0.0.0', '[::]'].includes(hostname)) await checkHost(hostname);
  if (!(Number(port) > 0))
    throw new SourceError('open: a UDP source needs a port: udp://127.0.0.1:1234', true);
  const timeout = String(Math.round(options.timeoutSeconds * 1e6));
  const query = new URLSearchParams({
    timeout,
    overrun_nonfatal: '1',
    fifo_size: '50000',
    buffer_size: '2097152',
  });
  // FFmpeg would listen on all addresses.
  const local = searchParams.get('localaddr') ?? (isGroup ? undefined : withoutBrackets(hostname));
  if (local) query.set('localaddr', local);
  const sources = searchParams.get('sources');
  if (sources) query.set('sources', sources);
  return await FFmpegSource.open(foreign(`udp://${hostname}:${port}?${query}`, 'udp', options, {}), signal);
}

/** @throws SourceError for an address that is never allowed */
async function checkHost(hostname: string): Promise<void> {
  await refuseHost(hostname).catch((error: Error) => {
    throw new SourceError(`open: ${error.message}`, true);
  });
}

async function openPlain(
  protocols: string,
  url: string,
  options: SourceOptions,
  signal?: AbortSignal,
): Promise<Source> {
  await checkHost(parsed(url).hostname);
  return await FFmpegSource.open(foreign(url, protocols, options, {}), signal);
}

/** What FFmpeg is to open of a network, and no more than that. */
function foreign(
  url: string,
  protocols: string,
  { timeoutSeconds, track, damage, hwaccel, ffmpeg }: SourceOptions,
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
    // None of those that the others set for safety can be among them.
    ...optionsOf(ffmpeg),
    ...more,
  };
  return {
    url,
    options,
    foreign: true,
    ...(track === undefined ? {} : { track }),
    ...(damage ? { damage } : {}),
    ...(hwaccel ? { hwaccel } : {}),
  };
}

function parsed(url: string): URL {
  const address = URL.parse(url);
  // What follows a # is no part of a camera's URL, but may be of a password.
  if (url.includes('@') && (!address || address.hash.includes('@')))
    throw new SourceError('open: not a URL: in a password, # / ? @ and : must be percent-encoded', true);
  if (!address) throw new SourceError('open: not a URL: see its host and port', true);
  return address;
}
