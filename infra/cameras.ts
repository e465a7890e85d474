import { readFileSync } from 'node:fs';
import { parseStreamList } from '@video-pipeline/scene';
import type { z } from 'zod';
import { streamEntrySchema } from '../ingest-host/src/streams.ts';
import { portOf } from '../packages/outbound/src/allowed-hosts.ts';
import { deployment } from './settings.ts';
import type { Stage } from './stages.ts';

/** One entry of the ingest host's STREAMS, checked as the ingest host and detect will. */
export type Camera = z.output<typeof streamEntrySchema>;

/** A connection to a camera. Only SRT uses UDP: its answers come back on the same port. */
interface Connection {
  protocol: 'tcp' | 'udp';
  port: number;
}

/** The connections that ingest opens to a camera. */
function connectionsTo({ url, fallback = [] }: Camera): Connection[] {
  return [url, ...fallback].map((one) => {
    const to = new URL(one);
    return { protocol: to.protocol === 'srt:' ? 'udp' : 'tcp', port: portOf(to) };
  });
}

/** Ports of cameras that are added later, beside those of the cameras' addresses. */
const CAMERA_PORTS = [554, 8554];

/** The connections that a stage's ingest may open: only to its cameras' addresses. */
export function cameraConnections({ ingest }: Stage, cameras: readonly Camera[]) {
  const later = CAMERA_PORTS.map((port): Connection => ({ protocol: 'tcp', port }));
  const all = [...later, ...cameras.flatMap(connectionsTo)];
  const distinct = new Map(all.map((one) => [`${one.protocol}${one.port}`, one]));
  return ingest.cameraCidrs.flatMap((cidr) => Array.from(distinct.values(), (one) => ({ ...one, cidr })));
}

/** An address that a task can connect to: neither a file, nor a UDP port of the task that a camera sends to. */
const canBeOpened = (url: string) =>
  URL.canParse(url) && !/^(file|udp):/i.test(url) && portOf(new URL(url)) > 0;

/** A camera that a stage on AWS can read: its security groups allow outbound connections only. */
const deployedEntry = streamEntrySchema
  .refine(({ url, fallback = [] }) => [url, ...fallback].every(canBeOpened), {
    path: ['url'],
    error: 'must be an address with a port that a task on AWS can connect to',
  })
  .refine(({ transport = 'tcp' }) => !transport.startsWith('udp'), {
    path: ['transport'],
    error: 'must be tcp on AWS: pictures by UDP come in from the camera, and nothing may come in',
  });

/**
 * Reads the cameras to deploy, in the format of STREAMS_FILE. `${NAME}` in an address stands for a variable of the
 * deploying shell.
 * @throws StreamsError with line and field of every error
 */
export function readCameras(path: string): Camera[] {
  return parseStreamList(readFileSync(path, 'utf8'), deployedEntry, path);
}

/**
 * The cameras that CAMERAS_FILE names. A stage without a camera of its own must have that file: otherwise a deploy
 * from another shell would remove all cameras.
 * @throws StreamsError; Error that names the variable
 */
export function camerasOf({ name, ingest }: Stage): Camera[] {
  const { CAMERAS_FILE } = deployment();
  if (CAMERAS_FILE) return readCameras(CAMERAS_FILE);
  if (ingest.testCamera) return [];
  throw new Error(
    `CAMERAS_FILE is not set: a deploy would remove every camera of stage '${name}'. If it shall have none, name a file that holds []`,
  );
}

/** Cuts a list into parts of at most `size`. */
export function chunk<Item>(list: readonly Item[], size: number): Item[][] {
  const parts = Math.ceil(list.length / size);
  return Array.from({ length: parts }, (_, part) => list.slice(part * size, (part + 1) * size));
}
