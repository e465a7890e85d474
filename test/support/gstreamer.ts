import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const SERVER = join(import.meta.dirname, 'gstreamer-server.py');
/** Debian's own Python: its GStreamer packages do not work with another Python. */
const PYTHON = '/usr/bin/python3';
const PACKAGES = [
  'python3-gi',
  'gir1.2-gst-rtsp-server-1.0',
  'gstreamer1.0-plugins-good',
  'gstreamer1.0-plugins-bad',
];

function isInstalled(): boolean {
  try {
    const code =
      'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer';
    execFileSync(PYTHON, ['-c', code], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * Installs GStreamer's RTSP server from Debian's packages if it is missing and this process may install it.
 * @returns why it is missing; `undefined` if it is installed
 */
export function installGStreamer(): string | undefined {
  if (isInstalled()) return undefined;
  if (process.getuid?.() !== 0) return `not installed: apt-get install ${PACKAGES.join(' ')}`;
  try {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', timeout: 60_000 });
    const quiet = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], {
      stdio: 'ignore',
      timeout: 170_000,
      env: quiet,
    });
  } catch (error) {
    return `apt-get can't install it: ${(error as Error).message.split('\n')[0]}`;
  }
  return isInstalled() ? undefined : 'installed, but Python does not find it';
}

export interface GStreamerOptions {
  /** Share of RTP packets that get lost, 0..1. */
  loss?: number;
  /** Refuse TCP. */
  udpOnly?: boolean;
  /** Name and password, asked for by Digest. */
  user?: [string, string];
}

export async function startGStreamer(
  file: string,
  codec: 'h264' | 'h265',
  { loss = 0, udpOnly = false, user }: GStreamerOptions = {},
) {
  const transport = udpOnly ? 'udp' : 'any';
  const child = spawn(PYTHON, [SERVER, file, codec, String(loss), transport, ...(user ?? [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const [port] = await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => {
      throw new Error('the GStreamer server did not start');
    }),
  ]);
  return {
    /** Host and port. */
    address: `127.0.0.1:${String(port).trim()}`,
    async stop() {
      child.kill();
      await exited;
    },
  };
}
