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
  /** The same request for a further session, of which FFmpeg does not know. */
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

/** Number of the last request. FFmpeg counts its requests from 1. */
const LAST_CSEQ = 1_000_000;
/** Time for the camera to read it, milliseconds. */
const LEAVE_MS = 1_000;

/** Ends the sessions: else the camera goes on to send over UDP, or counts them among those that it can serve. */
export function leave({ camera, sessions, uri }: Pair, send: (request: Request) => void): void {
  for (const id of sessions)
    send({ method: 'TEARDOWN', uri, rest: `\r\nCSeq: ${LAST_CSEQ}\r\nSession: ${id}\r\n\r\n` });
  camera.removeAllListeners('data').resume().end();
  setTimeout(() => camera.destroy(), sessions.size > 0 ? LEAVE_MS : 0).unref();
}
