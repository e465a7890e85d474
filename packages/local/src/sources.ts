import { existsSync, globSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { expandVariables, readSourceUrl } from '@video-pipeline/config';
import { isStreamId } from '@video-pipeline/frame';
import { redact } from '@video-pipeline/telemetry';
import { StartError } from './supervisor/processes.ts';

/** One stream that ingest reads. */
export interface Source {
  id: string;
  /** The URL of a camera, or the path of a video file: played once, or with `?loop` over and over in real time. */
  url: string;
  /** Whether it has an end: a video file that is played once. */
  finite: boolean;
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** Protocols that ingest reads over a network. */
const SCHEMES = ['rtsp:', 'rtsps:', 'http:', 'https:', 'srt:', 'rtmp:', 'rtmps:', 'udp:'];

/**
 * Reads the values of `--source`: `[name=]<rtsp url | video file>[?loop]`, `[name=]@<file with one of these>`, or a
 * pattern for the names of files.
 * @param directory folder for relative paths
 * @throws StartError for a source that can't be used; its message never shows a password
 */
export function parseSources(values: readonly string[], directory: string): Source[] {
  const taken = new Set<string>();
  return values
    .flatMap((value) => matching(value, directory))
    .map((value) => {
      const { name, url: given } = splitName(value, directory);
      const url = given.startsWith('@') ? urlIn(resolve(directory, given.slice(1))) : given;
      const full = expandVariables(url, (variable) => {
        throw new StartError(`--source ${redact(url)}: needs the variable ${variable}, which is not set`);
      });
      // Ingest gets the URL with its variables unexpanded, so that their values are written nowhere.
      const source = SCHEME.test(full) ? { ...remote(full), url } : file(full, directory);
      const id = name ?? unique(source.id, taken);
      if (taken.has(id)) throw new StartError(`--source: two streams are named '${id}'`);
      taken.add(id);
      return { ...source, id };
    });
}

function urlIn(path: string): string {
  expectFile(`--source @${path}`, path);
  return readSourceUrl(`@${path}`);
}

/** @param named the option and its value, for a person. @throws StartError unless there is a file, or a device */
export function expectFile(named: string, path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new StartError(`${named}: there is no file ${path}`);
  if (found.isDirectory()) throw new StartError(`${named}: ${path} is a folder, and no file`);
}

/** Expands a pattern such as `recordings/*.mp4` that the shell has not expanded. Other values stay as they are. */
function matching(value: string, directory: string): string[] {
  const loop = value.endsWith('?loop') ? '?loop' : '';
  const pattern = value.slice(0, value.length - loop.length);
  if (SCHEME.test(value) || /^@|=@|:\/\/|\$\{/.test(value) || !/[*?[{]/.test(pattern)) return [value];
  if (existsSync(resolve(directory, pattern))) return [value];
  const isFile = (path: string) => !statSync(resolve(directory, path)).isDirectory();
  const files = globSync(pattern, { cwd: directory }).filter(isFile).sort();
  if (files.length === 0) throw new StartError(`--source ${value}: no file has such a name`);
  return files.map((file) => file + loop);
}

// `yard=rtsp://...` names the stream, unless the whole text is the name of an existing file such as `a=b.mp4`.
function splitName(value: string, directory: string): { name?: string; url: string } {
  const at = value.indexOf('=');
  const name = value.slice(0, at);
  if (at < 1 || /[/\\:?]/.test(name) || existsSync(resolve(directory, value))) return { url: value };
  if (!isStreamId(name)) {
    throw new StartError(
      `--source: '${name}' can't name a stream: it must be letters of a to z, digits, '.', '_', '-', at most 128 of them`,
    );
  }
  return { name, url: value.slice(at + 1) };
}

function remote(url: string): Source {
  if (!URL.canParse(url)) throw new StartError(`--source ${redact(url)}: is not a URL`);
  const { protocol, host, pathname } = new URL(url);
  if (!SCHEMES.includes(protocol)) {
    throw new StartError(`--source ${redact(url)}: must be a video file or a URL of ${SCHEMES.join(' ')}`);
  }
  return { id: toStreamId(`${host}${pathname}`), url, finite: false };
}

function file(value: string, directory: string): Source {
  const loops = value.endsWith('?loop');
  const path = resolve(directory, loops ? value.slice(0, -'?loop'.length) : value);
  expectFile(`--source ${value}`, path);
  const id = toStreamId(basename(path).replace(/\.[^.]+$/, ''));
  return { id, url: loops ? `${path}?loop` : path, finite: !loops };
}

function toStreamId(text: string): string {
  const id = text
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|[-.]+$/g, '')
    .slice(0, 100);
  return id || 'stream';
}

function unique(id: string, taken: ReadonlySet<string>): string {
  let candidate = id;
  for (let n = 2; taken.has(candidate); n++) candidate = `${id}-${n}`;
  return candidate;
}

/** Whether a source is a video file that is played once. */
export function isPlayedOnce(url: string): boolean {
  return !SCHEME.test(url) && !url.endsWith('?loop');
}

export function areFinite(sources: readonly Source[]): boolean {
  return sources.every((source) => source.finite);
}
