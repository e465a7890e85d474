import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { UdpTrack } from './rtp-udp.ts';
import type { RequestMessage } from './rtsp-headers.ts';

/** A request of FFmpeg. */
export interface Request extends RequestMessage {
  /** How often it was sent before. */
  repeats?: number;
  /** For a SETUP: the track's UDP sockets, if its packets do not come over this connection. */
  track?: UdpTrack;
  /** A request of ours, of which FFmpeg does not know: for a further session, for example. */
  isCopy?: boolean;
}

/** A connection of FFmpeg, and the connection to the camera. */
export interface Pair {
  client: Socket;
  camera: Duplex;
  pending: Request[];
  /** Pass on packets that came before the answer to PLAY: FFmpeg would skip them, and wait for the next key frame. */
  early: (() => void)[];
  /** URL of all tracks. */
  uri: string;
  /** Ids of the camera's sessions: one, or one for each track. */
  sessions: Set<string>;
  /** UDP tracks by RTP channel. */
  tracks: Map<number, UdpTrack>;
  /** Channels of the track that is relayed. */
  relayed: readonly number[];
}

/** Number of our own requests. FFmpeg counts its requests from 1. */
const OWN_CSEQ = 1_000_000;
const KEEP_ALIVE_MS = 10_000;
/** Time for the camera to read the last request, milliseconds. */
const LEAVE_MS = 1_000;

/**
 * Keeps the sessions alive while FFmpeg does not read, and so does not ask: a full pipeline holds up a recording. Once
 * FFmpeg has gone, it ends them: else the camera goes on to send over UDP, or counts them among those that it can serve.
 */
export function keepSessions(pair: Pair, send: (request: Request) => void): void {
  const { client, camera, sessions } = pair;
  const ask = (method: string) => {
    for (const id of sessions)
      send({
        method,
        uri: pair.uri,
        rest: `\r\nCSeq: ${OWN_CSEQ}\r\nSession: ${id}\r\n\r\n`,
        isCopy: true,
      });
  };
  const timer = setInterval(() => client.writableNeedDrain && ask('GET_PARAMETER'), KEEP_ALIVE_MS).unref();
  client.once('close', () => {
    clearInterval(timer);
    ask('TEARDOWN');
    camera.removeAllListeners('data').resume().end();
    setTimeout(() => camera.destroy(), sessions.size > 0 ? LEAVE_MS : 0).unref();
  });
}
