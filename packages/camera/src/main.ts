import { exitWithError, onShutdown, reportReady } from '@video-pipeline/lifecycle';
import { createLogger } from '@video-pipeline/telemetry';
import { Command, InvalidArgumentError } from 'commander';
import { startCameras } from './server.ts';

const command = new Command('camera')
  .description('Plays H.264 video files as RTSP cameras, in a loop and in real time.')
  .argument('<id=file...>', 'cameras: yard=/path/yard.mp4 plays at rtsp://host:port/yard')
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--port <number>', 'port to listen on, 0 for a free one', parsePort, 8554)
  .option('--user <name:password>', 'ask clients for this user')
  .action(run);

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError('not a port');
  return port;
}

function parseClips(cameras: string[]): Record<string, string> {
  const entries = cameras.map((one) => {
    const [, id, path] = /^([^=/?]+)=(.+)$/.exec(one) ?? [];
    if (!id || !path) throw new Error(`camera '${one}' is not of the form id=file`);
    return [id, path] as const;
  });
  return Object.fromEntries(entries);
}

async function run(cameras: string[], options: { host: string; port: number; user?: string }): Promise<void> {
  const log = createLogger('camera');
  const server = await startCameras({ ...options, clips: parseClips(cameras) });
  onShutdown(() => server.close(), log);
  log.info('cameras are playing', { url: server.url, cameras: Object.keys(parseClips(cameras)) });
  reportReady({ url: server.url });
}

await command.parseAsync().catch(exitWithError);
