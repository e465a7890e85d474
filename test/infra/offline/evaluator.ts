/**
 * Evaluates one stage after another. Each evaluation loads the bundled app anew, since SST keeps state in its modules;
 * the providers' SDKs, which keep none, stay loaded.
 */
import { pathToFileURL } from 'node:url';

const bundle = pathToFileURL(process.argv[2] ?? '');
const before = { ...process.env };
let evaluations = 0;

process.on('message', async (env: NodeJS.ProcessEnv) => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, before, env);
  // The program continues in callbacks of outputs. It is done once nothing but the channel keeps this process.
  process.channel?.unref();
  bundle.search = String(evaluations++);
  const { graph } = await import(bundle.href);
  process.once('beforeExit', () => {
    process.channel?.ref();
    process.send?.(graph());
  });
});
