import { readConfig } from '@video-pipeline/config';
import { exitWithError, onShutdown, reportReady, waitForParent } from '@video-pipeline/lifecycle';
import { createLogger } from '@video-pipeline/telemetry';
import { Command } from 'commander';
import { startConsole } from './console.ts';
import { readOrCreateToken } from './token.ts';

await new Command('npm run console --')
  .description('The live console: streams, flow, search.')
  .option('--port <port>', 'CONSOLE_PORT, 8080; 0: a free one')
  .option('--host <address>', 'HOST, 127.0.0.1: only this machine; another address needs a token')
  .option('--token <token>', 'CONSOLE_TOKEN, asked for by the page; the variable keeps it out of ps')
  .addHelpText(
    'after',
    `
CONSOLE_TOKEN_FILE names a file with the token. The first start creates it. Each start prints the token.
CONSOLE_URL is the address that browsers see behind a proxy, such as https://cameras.example/console. It needs a token.`,
  )
  .action(serve)
  .parseAsync()
  .catch(exitWithError);

async function serve({ port, host, token }: { port?: string; host?: string; token?: string }): Promise<void> {
  const config = readConfig(['CONSOLE_PORT', 'HOST', 'CONSOLE_TOKEN', 'CONSOLE_TOKEN_FILE'], {
    ...process.env,
    ...(port === undefined ? {} : { CONSOLE_PORT: port }),
    ...(host === undefined ? {} : { HOST: host }),
    ...(token === undefined ? {} : { CONSOLE_TOKEN: token }),
  });
  await waitForParent();
  const log = createLogger('console');
  const file = config.CONSOLE_TOKEN === undefined ? config.CONSOLE_TOKEN_FILE : undefined;
  const kept = file === undefined ? undefined : readOrCreateToken(file);
  const server = await startConsole({
    port: config.CONSOLE_PORT,
    host: config.HOST,
    token: config.CONSOLE_TOKEN ?? kept,
    log,
  });
  onShutdown(() => server.close(), log);
  log.info(`console at ${server.url}`);
  // Whoever can read this log may also log in.
  if (kept !== undefined) console.log(`the console asks for this token, kept in ${file}: ${kept}`);
  reportReady({ url: server.url });
}
