import { HttpError } from '@video-pipeline/http';
import {
  checkAddress,
  type ListedCamera,
  putCamera,
  readCameras,
  removeCamera,
  StreamsError,
  setDisabled,
  TRANSPORTS,
} from '@video-pipeline/scene';
import { redact } from '@video-pipeline/telemetry';
import type { FastifyInstance } from 'fastify';
import type { CameraDraft, CameraEntry, CameraList } from './api.ts';
import { testCamera } from './camera-test.ts';
import { type ConsoleRequest, type ConsoleRoute, draftOf, streamOf } from './params.ts';
import type { RoutesOptions } from './routes-options.ts';
import type { Edit, StreamsFile } from './streams-file.ts';

/** Routes for the cameras of the list of streams: list, save, disable, remove. Each answers with the new list. */
export function addCameraRoutes(
  app: FastifyInstance,
  { streamsFile, log }: Pick<RoutesOptions, 'streamsFile' | 'log'>,
): void {
  const change = (request: ConsoleRequest, what: string, id: string, edit: Edit, version?: unknown) => {
    streamsFile.change(edit, typeof version === 'string' ? version : undefined);
    // The address shows who made the change, since all users share one token.
    log.info(`${what} a camera`, { stream: id, by: request.ip });
    return camerasOf(streamsFile);
  };
  app.get('/api/cameras', () => camerasOf(streamsFile));
  app.post<ConsoleRoute>('/api/cameras', (request) => {
    const { version, ...draft } = draftOf<CameraDraft>(request);
    const id = String(draft.id);
    return change(request, 'saved', id, (text, where) => save(text, where, draft), version);
  });
  app.post<ConsoleRoute>('/api/cameras/test', (request) => {
    const list = streamsFile.text();
    // A client that may not change the list may not make the server open files and addresses either.
    if (!list || !streamsFile.isWritable) throw new HttpError(409, 'the list of streams is not a file');
    const { transport, ...draft } = draftOf<CameraDraft>(request);
    const url = addressOf(list.text, list.where, draft);
    log.info('tested a camera', { stream: String(draft.id), by: request.ip });
    const known = TRANSPORTS.find((name) => name === transport);
    return testCamera(checkAddress(url), known);
  });
  app.post<ConsoleRoute>('/api/cameras/:stream/disabled', (request) => {
    const id = streamOf(request);
    const { disabled } = draftOf<{ disabled: boolean }>(request);
    if (typeof disabled !== 'boolean') throw new HttpError(400, 'body must be {"disabled": true or false}');
    const edit: Edit = (text, where) => setDisabled(text, id, disabled, where);
    return change(request, disabled ? 'disabled' : 'enabled', id, edit);
  });
  app.delete<ConsoleRoute>('/api/cameras/:stream', (request) => {
    const id = streamOf(request);
    return change(request, 'removed', id, (text, where) => removeCamera(text, id, where));
  });
}

type Draft = Omit<{ [Key in keyof CameraDraft]?: unknown }, 'version'>;

function save(text: string, where: string, { user, password, url, ...draft }: Draft): string {
  const address = addressOf(text, where, { id: draft.id, user, password, url });
  return putCamera(text, { ...draft, url: address }, where);
}

/** Passwords are never sent back. If a URL comes back as it was shown, the stored URL is kept. */
function addressOf(text: string, where: string, { id, user, password, url }: Draft): unknown {
  const former = readCameras(text, where).find((camera) => camera.id === id)?.url;
  const given = former !== undefined && url === redact(former) ? former : url;
  if (typeof given === 'string' && given !== former && given.includes('***'))
    throw new StreamsError('the address was shown without its password: give user and password again');
  return typeof user === 'string' && user !== '' ? withUser(given, user, String(password ?? '')) : given;
}

function withUser(url: unknown, user: string, password: string): unknown {
  if (typeof url !== 'string' || !URL.canParse(url)) return url;
  const pair = [user, password].map(encodeURIComponent).join(':');
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*@)?/i, (_, scheme) => `${scheme}${pair}@`);
}

function camerasOf(streamsFile: StreamsFile): CameraList {
  const list = streamsFile.text();
  const cameras = list ? readCameras(list.text, list.where).map(entryOf) : [];
  return { cameras, writable: streamsFile.isWritable, ...(list ? { version: list.version } : {}) };
}

function entryOf({ url = '', disabled = false, ...camera }: ListedCamera): CameraEntry {
  return { ...camera, url: redact(url), disabled };
}
