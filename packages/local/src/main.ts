import { keepCompiled } from '@video-pipeline/assets/cache';
import { exitWithError } from '@video-pipeline/lifecycle';

// Node may take the machine's proxy for every request (NODE_USE_ENV_PROXY). The stack's own servers are not behind it.
const { no_proxy, NO_PROXY = '' } = process.env;
process.env.no_proxy = process.env.NO_PROXY = `${no_proxy ?? NO_PROXY},127.0.0.1,localhost`.replace(/^,/, '');
if (process.env.NODE_USE_ENV_PROXY === '1') {
  const http = process.getBuiltinModule('node:http');
  http.globalAgent = new http.Agent({ proxyEnv: process.env });
}
await keepCompiled();
await import('./start.ts').catch(exitWithError);
