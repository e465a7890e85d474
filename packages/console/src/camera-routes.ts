import { ConfigError, StaleError } from '@video-pipeline/config';
import {
  type ListedCamera,
  putCamera,
  readCameras,
  removeCamera,
  StreamsError,
  setDisabled,
} from '@video-pipeline/scene';
import { type Logger, redact } from '@video-pipeline/telemetry';
import type { CameraDraft, CameraEntry, CameraList } from './api.ts';
import { readDraft } from './guard.ts';
import { HttpError, json, type Reply, type Route, type RouteRequest } from './http.ts';
import { STREAM, streamId } from './params.ts';
import type { StreamsFile } from './streams-file.ts';

interface CameraRoutesOptions {
  streamsFile: StreamsFile;
  log: Pick<Logger, 'info'>;
}

/** The cameras of the list of streams: told, put in, disabled, taken out. Each answers with the list as it is then. */
export function cameraRoutes(options: CameraRoutesOptions): Route[] {
  const { streamsFile, log } = options;
  const change = (request: RouteRequest, what: string, id: string, edit: Edit, version?: unknown): Reply =>
    answer(() => {
      streamsFile.change(edit, typeof version === 'string' ? version : undefined);
      // Who did what: the token is one, so that the address has to do.
      log.info(`${what} a camera`, { stream: id, by: request.request.socket.remoteAddress });
      return camerasOf(streamsFile);
    });
  return [
    { method: 'GET', path: /^\/api\/cameras$/, handle: () => answer(() => camerasOf(streamsFile)) },
    {
      method: 'POST',
      path: /^\/api\/cameras$/,
      async handle(request) {
        const { version, ...draft } = await readDraft<CameraDraft>(request.request);
        const id = String(draft.id);
        return change(request, 'saved', id, (text, where) => save(text, where, draft), version);
      },
    },
    {
      method: 'POST',
      path: new RegExp(`^/api/cameras/${STREAM}/disabled$`),
      async handle(request) {
        const id = streamId(request.params.stream);
        const { disabled } = await readDraft<{ disabled: boolean }>(request.request);
        if (typeof disabled !== 'boolean')
          throw new HttpError(400, 'body must be {"disabled": true or false}');
        const edit: Edit = (text, where) => setDisabled(text, id, disabled, where);
        return change(request, disabled ? 'disabled' : 'enabled', id, edit);
      },
    },
    {
      method: 'DELETE',
      path: new RegExp(`^/api/cameras/${STREAM}$`),
      handle(request) {
        const id = streamId(request.params.stream);
        return change(request, 'removed', id, (text, where) => removeCamera(text, id, where));
      },
    },
  ];
}

type Edit = (text: string, where: string) => string;

/** Passwords are never sent back: an address that comes as it was shown is the one that is there. */
function save(
  text: string,
  where: string,
  { user, password, url, ...draft }: Omit<{ [Key in keyof CameraDraft]?: unknown }, 'version'>,
): string {
  const former = readCameras(text, where).find(({ id }) => id === draft.id)?.url;
  const given = former !== undefined && url === redact(former) ? former : url;
  if (typeof given === 'string' && given !== former && given.includes('***'))
    throw new StreamsError('the address was shown without its password: give user and password again');
  const address =
    typeof user === 'string' && user !== '' ? withUser(given, user, String(password ?? '')) : given;
  return putCamera(text, { ...draft, url: address }, where);
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

function entryOf({ id, url = '', frame_rate, transport, disabled = false }: ListedCamera): CameraEntry {
  return {
    id,
    url: redact(url),
    disabled,
    ...(frame_rate === undefined ? {} : { frame_rate }),
    ...(transport === undefined ? {} : { transport }),
  };
}

/** What is wrong with the list of streams is for whoever asked to mend. */
function answer(give: () => CameraList): Reply {
  try {
    return json(give());
  } catch (error) {
    if (error instanceof StreamsError) throw new HttpError(422, error.message);
    if (error instanceof ConfigError || error instanceof StaleError) throw new HttpError(409, error.message);
    throw error;
  }
}
