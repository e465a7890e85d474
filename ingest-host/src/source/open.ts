import { AllowedHosts, portOf, refuseHost, withoutBrackets } from '@video-pipeline/outbound';
import { mayGetPassword } from './authorization.ts';
import { optionsOf } from './ffmpeg-options.ts';
import { FFmpegSource } from './ffmpeg-source.ts';
import { openFile } from './file.ts';
import { HttpProxy } from './http-proxy.ts';
import { DEMUXERS, MAX_TRACKS } from './limits.ts';
import { paced } from './paced.ts';
import { isMulticast } from './rtp-udp.ts';
import { RtspProxy } from './rtsp-proxy.ts';
import type { Opener, Source, SourceOptions } from './source.ts';
import { SourceError } from './source-error.ts';

/** Longest analysis of a source that does not announce its tracks. FFmpeg's default is 5 s, and 90 s for RTMP's FLV. */
const MAX_ANALYZE_SECONDS = 1;
const MAX_REDIRECTS = 3;

/** Openers by the scheme of a URL. Without a scheme it is the path of a file. */
const OPENERS = new Map<string, Opener>([
  ['file', openFile],
  ['http', openHttp],
  ['https', openHttp],
  ['rtsp', openRtsp],
  ['rtsps', openRtsp],
  ['rtmp', openerOf('rtmp,tcp')],
  ['rtmps', openerOf('rtmps,tls,tcp')],
  ['udp', openUdp],
  ['srt', openerOf('srt')],
]);

export const SCHEMES: readonly string[] = [...OPENERS.keys()];

/**
 * Opens the source of a stream's URL.
 * @throws SourceError
 */
export async function openSource(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  // An empty URL would crash FFmpeg's binding.
  if (url === '') throw new SourceError('open: no URL', true);
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase();
  const opener = scheme === undefined ? openFile : OPENERS.get(scheme);
  if (!opener) throw new SourceError(`open: '${scheme}:' is none of ${SCHEMES.join(', ')}`, true);
  return await opener(url, options, signal);
}

async function openHttp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const proxy = await HttpProxy.open(parsed(url), options);
  const protocol = {
    http_proxy: proxy.proxyUrl,
    // Segments of a list are requested one after another, because their bytes are limited.
    http_multiple: '0',
    // Without it FFmpeg 8.1 treats a closed connection as open, and can't read an MP4 with its index at the end.
    multiple_requests: '1',
  };
  const input = fromNetwork(proxy.address, 'http,tcp,crypto', options, protocol);
  const source = await FFmpegSource.open({ ...input, proxy }, signal);
  return source.live && source.format.container === 'hls' ? paced(source, signal) : source;
}

async function openRtsp(given: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  let url = parsed(given);
  const hosts = new AllowedHosts(url, options.hosts);
  if (options.location !== undefined) url = redirected(options.location, url, hosts);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const proxy = await RtspProxy.open(url, options);
    try {
      return await openThrough(proxy, options, signal);
    } catch (error) {
      const { location } = error as SourceError;
      if (location === undefined) throw error;
      url = redirected(location, url, hosts);
    }
  }
  throw new SourceError(`open: it redirects more than ${MAX_REDIRECTS} times`, true);
}

async function openThrough(proxy: RtspProxy, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const { timeoutSeconds, audio } = options;
  const input = fromNetwork(proxy.address, 'rtsp,rtp,tcp', options, {
    format_whitelist: 'rtsp',
    rtsp_transport: 'tcp',
    timeout: String(Math.round(timeoutSeconds * 1e6)),
    allowed_media_types: audio ? 'video+audio' : 'video',
  });
  return await FFmpegSource.open({ ...input, proxy }, signal);
}

/** @throws SourceError when the redirect leads to a host that is not allowed */
export function redirected(location: string, from: URL, hosts: AllowedHosts): URL {
  const to = URL.parse(location, from.href);
  if (!to) throw new SourceError('open: it redirects to what is not a URL', true);
  const place = `open: it leads to ${to.protocol}//${to.host}`;
  const isOwn = to.hostname.toLowerCase() === from.hostname.toLowerCase();
  if (!hosts.allows(to.hostname, portOf(to))) {
    const which = isOwn
      ? "another port of its host, which is not among 'hosts'"
      : "which is neither its own host nor among 'hosts'";
    throw new SourceError(`${place}, ${which}`, true);
  }
  if (!/^rtsps?:$/.test(to.protocol)) throw new SourceError(`${place}, which is not RTSP`, true);
  // The time range of a recording is that of the camera's own URL.
  to.hash ||= from.hash;
  if (mayGetPassword(from, to.hostname, to.protocol === 'rtsps:') && !to.username)
    [to.username, to.password] = [from.username, from.password];
  return to;
}

/** MPEG-TS to a port of this machine, or to a multicast group that it joins: `udp://@239.1.1.1:1234`. */
async function openUdp(url: string, options: SourceOptions, signal?: AbortSignal): Promise<Source> {
  const { hostname, port, searchParams } = parsed(url);
  const isGroup = isMulticast(withoutBrackets(hostname));
  // The wildcard addresses are for listening only, so they need no check.
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
  // Without it FFmpeg would listen on all addresses.
  const local = searchParams.get('localaddr') ?? (isGroup ? undefined : withoutBrackets(hostname));
  if (local) query.set('localaddr', local);
  const sources = searchParams.get('sources');
  if (sources) query.set('sources', sources);
  return await FFmpegSource.open(
    fromNetwork(`udp://${hostname}:${port}?${query}`, 'udp', options, {}),
    signal,
  );
}

/** @throws SourceError for an address that is never allowed */
async function checkHost(hostname: string): Promise<void> {
  await refuseHost(hostname).catch((error: Error) => {
    throw new SourceError(`open: ${error.message}`, true);
  });
}

/** Opens what FFmpeg reads directly. @param protocols of FFmpeg, those that it may use */
function openerOf(protocols: string): Opener {
  return async (url, options, signal) => {
    await checkHost(parsed(url).hostname);
    return await FFmpegSource.open(fromNetwork(url, protocols, options, {}), signal);
  };
}

/** Input from a network, with FFmpeg restricted to what it needs. */
function fromNetwork(
  url: string,
  protocols: string,
  { timeoutSeconds, track, damage, hwaccel, ffmpeg }: SourceOptions,
  more: Record<string, string>,
) {
  const options = {
    protocol_whitelist: protocols,
    format_whitelist: DEMUXERS,
    // Only our own decoder, which has limits, may open: FFmpeg would open another one for its analysis.
    codec_whitelist: 'none',
    max_streams: String(MAX_TRACKS),
    probesize: '1000000',
    rw_timeout: String(Math.round(timeoutSeconds * 1e6)),
    analyzeduration: String(1e6 * MAX_ANALYZE_SECONDS),
    // The schema allows none of the options that are set here for safety.
    ...optionsOf(ffmpeg),
    ...more,
  };
  return { url, options, fromNetwork: true, track, damage, hwaccel };
}

function parsed(url: string): URL {
  const address = URL.parse(url);
  // A camera's URL has no part after #, but a password may contain #.
  if (url.includes('@') && (!address || address.hash.includes('@')))
    throw new SourceError('open: not a URL: in a password, # / ? @ and : must be percent-encoded', true);
  if (!address) throw new SourceError('open: not a URL: check its host and port', true);
  return address;
}
