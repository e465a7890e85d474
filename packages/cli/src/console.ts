import { openBrowser } from '@video-pipeline/local/lightweight';
import { STREAMS_KEY } from '@video-pipeline/scene';
import type { Command } from 'commander';
import { runInForeground } from './foreground.ts';
import { runningState, s3Variables, serverOf, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

interface Options extends Target {
  open?: boolean;
}

export function consoleCommand(): Command {
  return targetCommand(
    'console',
    'print the address of the web page; where none runs, as with --stage, serve it at CONSOLE_PORT until Ctrl-C',
  )
    .option('--open', 'open it in the browser')
    .action(async (options: Options) => {
      const show = (url: string) => {
        console.log(options.json ? JSON.stringify({ url }) : url);
        if (options.open) openBrowser(url, console.error);
      };
      const running = options.stage ? undefined : await runningState(options.dataDir);
      if (running?.endpoints.console) show(running.endpoints.console);
      else process.exitCode = await serve(options, show);
    });
}

async function serve(target: Target, onReady: (url: string) => void): Promise<number> {
  const env = {
    KAFKA_BOOTSTRAP_SERVERS: await serverOf('kafka', target),
    ...(await s3Variables(target)),
    ...(target.stage ? { STREAMS: '', STREAMS_FILE: `s3://${process.env.S3_BUCKET}/${STREAMS_KEY}` } : {}),
  };
  return runInForeground('packages/console/src/main.ts', env, { onReady });
}
