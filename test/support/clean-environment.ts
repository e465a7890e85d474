import { variables } from '../../packages/config/src/variables.ts';

/** What other programs of a machine read: credentials and endpoints of AWS, tracing, options of Node and Java, colours. */
const OF_OTHERS =
  /^(AWS|OTEL)_|^(NODE_OPTIONS|NODE_ENV|FORCE_COLOR|JDK_JAVA_OPTIONS|_?JAVA(_TOOL)?_OPTIONS)$/;

/**
 * Removes what a person's shell has set for other programs, or for a pipeline of theirs. The tests set themselves what they
 * need. A proxy stays, as downloads may need it, but not for this machine.
 */
export function cleanEnvironment(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(env)) if (name in variables || OF_OTHERS.test(name)) delete env[name];
  const { no_proxy, NO_PROXY = '' } = env;
  env.no_proxy = env.NO_PROXY = [no_proxy ?? NO_PROXY, '127.0.0.1', 'localhost', '::1']
    .filter(Boolean)
    .join();
}
