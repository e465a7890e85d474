import { openBrowser } from '@video-pipeline/local';
import { STREAMS_KEY } from '@video-pipeline/scene';
import { Command } from 'commander';
import { runInForeground } from './foreground.ts';
import { dataDirOption, runningState, s3Variables, serverOf, type Target } from './running.ts';
import { stageOption } from './stage.ts';

interface Options extends Target {
  open?: boolean;
  json?: boolean;
}

export function consoleCommand(): Command {
  return new Command('console')
    .description(
      'the address of the web page; where none is up, as with --stage, serves it at CONSOLE_PORT until Ctrl-C',
    )
    .option('--open', 'open it in the browser')
    .addOption(dataDirOption())
    .addOption(stageOption())
    .option('--json', 'print one JSON object')
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
