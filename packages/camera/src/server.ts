import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createAuthenticator } from './auth.ts';
import type { Channel } from './channel.ts';
import { loadClip } from './clip.ts';
import { Connection, type ServerContext } from './connection.ts';
import { clipChannel } from './player.ts';
import type { UdpPair } from './session.ts';

export interface CameraOptions extends ServerOptions {
  /** Path of an H.264 video file by camera id: the camera plays at `rtsp://host:port/id`. */
  clips: Readonly<Record<string, string>>;
}

export interface ServerOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** 0, the default, means any free port. */
  port?: number;
  /** `name:password` that clients must send. Without it, anyone may watch. */
  user?: string;
  /** Default 60. */
  sessionTimeoutSeconds?: number;
  /** Connections at a time. Default 100. */
  maxClients?: number;
}

export interface Cameras {
  /** `rtsp://host:port`, without credentials. */
  url: string;
  /** Drops every client at once, like a camera that loses power. */
  close(): Promise<void>;
}

/**
 * Starts cameras that play video files in a loop, in real time, over RTSP 1.0 (RFC 2326) by TCP and UDP.
 * @throws Error for a file that is no H.264 video; the error of node:net when the port is taken
 * @example
 * const cameras = await startCameras({ clips: { gate: 'gate.mp4' } }); // plays `${cameras.url}/gate`
 */
export async function startCameras(options: CameraOptions): Promise<Cameras> {
  const channels = new Map<string, Channel>();
  for (const [id, path] of Object.entries(options.clips)) channels.set(id, clipChannel(await loadClip(path)));
  return await serveRtsp(channels, options);
}

/**
 * Serves channels over RTSP 1.0 (RFC 2326) by TCP and UDP.
 * @param channels by the first part of the URL's path; they may change
 * @throws the error of node:net when the port is taken
 */
export async function serveRtsp(
  channels: ReadonlyMap<string, Channel>,
  options: ServerOptions,
): Promise<Cameras> {
  const { host = '127.0.0.1', port = 0, user, sessionTimeoutSeconds = 60, maxClients = 100 } = options;
  const udp = await bindUdpPair(host);
  const authenticator = user === undefined ? undefined : createAuthenticator(user);
  const shared: ServerContext = { channels, udp, authenticator, sessionTimeoutSeconds };

  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    new Connection(socket, shared);
  });
  server.maxConnections = maxClients;
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    closeUdpPair(udp);
    throw error;
  }
  const address = server.address() as AddressInfo;
  return {
    url: `rtsp://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    async close() {
      const closed = once(server, 'close');
      const remaining = [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
      server.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all([closed, ...remaining]);
      // Not earlier: a player over UDP stops when its RTSP connection has closed.
      closeUdpPair(udp);
    },
  };
}

async function bindUdpPair(host: string): Promise<UdpPair> {
  const type = host.includes(':') ? 'udp6' : 'udp4';
  const pair = { rtp: createSocket(type), rtcp: createSocket(type) };
  for (const socket of [pair.rtp, pair.rtcp]) {
    socket.on('error', () => {});
    socket.bind(0, host);
    await once(socket, 'listening');
  }
  return pair;
}

function closeUdpPair({ rtp, rtcp }: UdpPair): void {
  rtp.close();
  rtcp.close();
}
