import { exitWithError, onShutdown, reportReady } from '@video-pipeline/lifecycle';
import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { createLogger } from '@video-pipeline/telemetry';
import { Command } from 'commander';
import { startCameras } from './server.ts';

const parsePort = numberThat(
  (value) => Number.isInteger(value) && value >= 0 && value <= 65_535,
  'a port from 0 to 65535',
);

const command = new Command('camera')
  .description('Plays H.264 video files as RTSP cameras, in a loop and in real time.')
  .argument('<id=file...>', 'cameras: yard=/path/yard.mp4 plays at rtsp://host:port/yard')
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--port <number>', 'port to listen on, 0 for a free one', parsePort, 8554)
  .option('--user <name:password>', 'ask clients for this user')
  .action(run);

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
