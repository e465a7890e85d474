import { isStreamId } from '@video-pipeline/frame';
import { type Document, isMap, isSeq, type YAMLMap, type YAMLSeq } from 'yaml';
import { z } from 'zod';
import { writeStreams } from './edit-scene.ts';
import { parseStreamList, parseStreamsDocument, readStreamList, StreamsError } from './streams.ts';

/** What ingest reads over a network; a path is a video file. */
const SCHEMES = ['rtsp', 'rtsps', 'http', 'https', 'srt', 'rtmp', 'rtmps', 'udp'];

/** How RTSP carries the packets. */
export const TRANSPORTS = ['tcp', 'udp', 'udp_multicast', 'http', 'auto'] as const;

/** What people call a camera. */
export const streamName = z.string().min(1).max(100);

const address = z
  .string()
  .min(1, 'must not be empty')
  .max(2_048)
  .refine(isAddress, `must be a path, or a URL of ${SCHEMES.join(', ')}`);

/** A camera as somebody gives it: the fields that ingest reads of an entry. */
const camera = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  name: streamName.optional(),
  url: address,
  frame_rate: z.number().min(0.01).max(240).optional(),
  transport: z.enum(TRANSPORTS).optional(),
});
export type CameraDraft = z.output<typeof camera>;

/** An entry of the list, as far as it is a camera's: others may have more fields, or lack the address. */
const listed = z.object({
  id: z.string(),
  name: z.string().optional(),
  url: z.string().optional(),
  frame_rate: z.number().optional(),
  transport: z.string().optional(),
  disabled: z.boolean().optional(),
});
export type ListedCamera = z.output<typeof listed>;

/** The cameras of a list, those that can be read. @throws StreamsError for what is no list at all */
export function readCameras(text: string, where: string): ListedCamera[] {
  return readStreamList(text, listed, where).entries;
}

/** @returns what may be a camera's address. @throws StreamsError that never shows it */
export function checkAddress(url: unknown): string {
  const { data, error } = address.safeParse(url);
  if (data === undefined)
    throw new StreamsError(`the address ${error?.issues.map(({ message }) => message).join('; ')}`);
  return data;
}

/**
 * Puts a camera into a list of streams, or changes it there: its scene, comments and all other fields stay.
 * @param draft checked here, so that its parts may come from anywhere
 * @returns the whole list
 * @throws StreamsError naming the field that is wrong, never its value
 */
export function putCamera(text: string, draft: unknown, where: string): string {
  const { data, error } = camera.safeParse(draft);
  if (!data) {
    const problems = error.issues.map(({ path, message }) => `'${path.join('.')}' ${message}`);
    throw new StreamsError(`the camera can't be saved: ${problems.join('; ')}`);
  }
  const document: Document = parseStreamsDocument(text);
  const list = listOf(document, where);
  let entry = list.items.find((item): item is YAMLMap => isMap(item) && item.get('id') === data.id);
  if (!entry) {
    entry = document.createNode({ id: data.id }) as YAMLMap;
    // An empty list is written `[]`: what comes into it is for people to read.
    list.flow = false;
    list.items.push(entry);
  }
  for (const name of ['name', 'url', 'frame_rate', 'transport'] as const) {
    if (data[name] === undefined) entry.delete(name);
    else entry.set(name, data[name]);
  }
  return checked(writeStreams(document, text, where), where);
}

/** Has ingest leave a camera out, or read it again. @throws StreamsError when it isn't there */
export function setDisabled(text: string, id: string, disabled: boolean, where: string): string {
  const document: Document = parseStreamsDocument(text);
  const entry = entryOf(document, id, where);
  if (disabled) entry.set('disabled', true);
  else entry.delete('disabled');
  return checked(writeStreams(document, text, where), where);
}

/** Takes a camera out of the list, its scene with it. @throws StreamsError when it isn't there */
export function removeCamera(text: string, id: string, where: string): string {
  const document: Document = parseStreamsDocument(text);
  const list = listOf(document, where);
  const entry = entryOf(document, id, where);
  list.items = list.items.filter((item) => item !== entry);
  if (list.items.length === 0) list.flow = true;
  return checked(writeStreams(document, text, where), where);
}

function listOf(document: Document, where: string): YAMLSeq {
  if (document.errors.length > 0 || !isSeq(document.contents)) {
    throw new StreamsError(`${where}: must be a list of streams: [{id: ..., ...}]`);
  }
  return document.contents;
}

function entryOf(document: Document, id: string, where: string): YAMLMap {
  const entry = listOf(document, where).items.find(
    (item): item is YAMLMap => isMap(item) && item.get('id') === id,
  );
  if (!entry) throw new StreamsError(`${where}: there is no stream '${id.slice(0, 128)}'`);
  return entry;
}

/** Nothing is written that could not be read again. @throws StreamsError */
function checked(text: string, where: string): string {
  parseStreamList(text, listed, where);
  return text;
}

function isAddress(url: string): boolean {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url) ?? [];
  if (scheme === undefined) return true;
  return SCHEMES.includes(scheme.toLowerCase()) && URL.canParse(url);
}
