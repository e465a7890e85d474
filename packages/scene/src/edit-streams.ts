import { isStreamId } from '@video-pipeline/frame';
import type { Document, YAMLMap, YAMLSeq } from 'yaml';
import { z } from 'zod';
import { editList, entryOf, streamOf } from './edit-scene.ts';
import { parseStreamList, readStreamList, StreamsError } from './streams.ts';

/** Protocols that ingest reads over a network. A path is a video file. */
const SCHEMES = ['rtsp', 'rtsps', 'http', 'https', 'srt', 'rtmp', 'rtmps', 'udp'];

/** How RTSP carries the packets. */
export const TRANSPORTS = ['tcp', 'udp', 'udp_multicast', 'http', 'auto'] as const;

export const streamName = z.string().min(1).max(100);

const address = z
  .string()
  .min(1, 'must not be empty')
  .max(2_048)
  .refine(isAddress, `must be a path, or a URL of ${SCHEMES.join(', ')}`);

/** A camera that a person enters: the fields of an entry that ingest reads. */
const camera = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  name: streamName.optional(),
  url: address,
  frame_rate: z.number().min(0.01).max(240).optional(),
  transport: z.enum(TRANSPORTS).optional(),
});
export type CameraDraft = z.output<typeof camera>;

/** The camera fields of an entry. Other entries may have more fields, or lack the URL. */
const listed = z.object({
  id: z.string(),
  name: z.string().optional(),
  url: z.string().optional(),
  frame_rate: z.number().optional(),
  transport: z.string().optional(),
  disabled: z.boolean().optional(),
});
export type ListedCamera = z.output<typeof listed>;

/** The valid cameras of a list. @throws StreamsError if the text is not a list */
export function readCameras(text: string, where: string): ListedCamera[] {
  return readStreamList(text, listed, where).entries;
}

/** @returns a valid URL or path of a camera. @throws StreamsError that never shows it */
export function checkAddress(url: unknown): string {
  const { data, error } = address.safeParse(url);
  if (data === undefined)
    throw new StreamsError(`the address ${error?.issues.map(({ message }) => message).join('; ')}`);
  return data;
}

/**
 * Adds a camera to a list of streams, or changes it. Its scene, comments and all other fields stay.
 * @param draft its values are checked here, and may come from anywhere
 * @returns the whole list
 * @throws StreamsError naming the wrong field, never its value
 */
export function putCamera(text: string, draft: unknown, where: string): string {
  const { data, error } = camera.safeParse(draft);
  if (!data) {
    const problems = error.issues.map(({ path, message }) => `'${path.join('.')}' ${message}`);
    throw new StreamsError(`the camera can't be saved: ${problems.join('; ')}`);
  }
  return edited(text, where, (list, document) => {
    let entry = entryOf(list, data.id);
    if (!entry) {
      entry = document.createNode({ id: data.id }) as YAMLMap;
      // An empty list is written `[]`. With entries it is written as a block, which is easier to read.
      list.flow = false;
      list.items.push(entry);
    }
    for (const name of ['name', 'url', 'frame_rate', 'transport'] as const) {
      if (data[name] === undefined) entry.delete(name);
      else entry.set(name, data[name]);
    }
  });
}

/** Disables a camera for ingest, or enables it. @throws StreamsError when there is no such camera */
export function setDisabled(text: string, id: string, disabled: boolean, where: string): string {
  return edited(text, where, (list) => {
    const entry = streamOf(list, id, where);
    if (disabled) entry.set('disabled', true);
    else entry.delete('disabled');
  });
}

/** Removes a camera from the list, with its scene. @throws StreamsError when there is no such camera */
export function removeCamera(text: string, id: string, where: string): string {
  return edited(text, where, (list) => {
    const entry = streamOf(list, id, where);
    list.items = list.items.filter((item) => item !== entry);
    if (list.items.length === 0) list.flow = true;
  });
}

/** The whole list after a change, once it has been read again. @throws StreamsError */
function edited(text: string, where: string, edit: (list: YAMLSeq, document: Document) => void): string {
  const written = editList(text, where, edit);
  parseStreamList(written, listed, where);
  return written;
}

function isAddress(url: string): boolean {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url) ?? [];
  if (scheme === undefined) return true;
  return SCHEMES.includes(scheme.toLowerCase()) && URL.canParse(url);
}
