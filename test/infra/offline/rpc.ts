import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, dirname, join } from 'node:path';
import esbuild from 'esbuild';
import type { Build } from './evaluate.ts';
import { makeOnce } from './lock.ts';
import { sourcesHash } from './sources.ts';

interface BuildRequest {
  functionID: string;
  handler: string;
  properties: { install?: Record<string, string>; minify?: boolean; architecture: string };
}

/**
 * A server in place of SST's command line, for its platform. It answers bootstrap facts, and builds the real bundles.
 */
export async function servePlatform({ root, work, region }: { root: string; work: string; region: string }) {
  const builds: Record<string, Build> = {};
  const made = bundlesOf(root);
  const methods: Record<string, (params: any) => unknown> = {
    'Provider.Aws.Bootstrap': () => ({
      asset: 'sst-asset',
      assetEcrRegistryId: '123456789012',
      assetEcrUrl: `123456789012.dkr.ecr.${region}.amazonaws.com/sst-asset`,
      state: 'sst-state',
    }),
    'Provider.Aws.Appsync': () => ({ http: 'appsync-http', realtime: 'appsync-realtime' }),
    'Runtime.AddTarget': () => true,
    'Runtime.Build': async (request: BuildRequest) => {
      const file = await bundleOnce(
        request,
        root,
        made,
        join(work, 'artifacts', `${request.functionID}-src`),
      );
      builds[request.functionID] = {
        file,
        bytes: statSync(file).size,
        install: request.properties.install ?? {},
        architecture: request.properties.architecture,
      };
      return { handler: `bundle.${request.handler.split('.').at(-1)}`, out: dirname(file), errors: [] };
    },
  };
  const server = createServer(async (request, response) => {
    const { method, params } = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString());
    // An evaluation is done when nothing is open, and an idle connection would stay so for five seconds.
    response.setHeader('connection', 'close');
    try {
      const answer = methods[method];
      if (!answer) throw new Error(`rpc: can't find method ${method}`);
      response.end(JSON.stringify({ result: await answer(params[0]) }));
    } catch (error) {
      response.end(JSON.stringify({ error: String(error) }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.env.SST_SERVER = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.unref();
  return { builds };
}

/** Folder with the bundles of earlier evaluations of the same code. Bundles of other code are removed. */
function bundlesOf(root: string): string {
  const all = join(root, '.sst/offline/bundles');
  const hash = sourcesHash(root);
  const folder = join(all, hash);
  mkdirSync(folder, { recursive: true });
  for (const other of readdirSync(all)) {
    if (other !== hash) rmSync(join(all, other), { recursive: true, force: true });
  }
  return folder;
}

/** Bundles a function, unless its bundle exists. */
async function bundleOnce(request: BuildRequest, root: string, made: string, out: string): Promise<string> {
  const { handler, properties } = request;
  const name = createHash('sha256')
    .update(JSON.stringify([handler, properties]))
    .digest('hex');
  const kept = join(made, `${name.slice(0, 16)}.mjs`);
  const outfile = join(out, 'bundle.mjs');
  mkdirSync(out, { recursive: true });
  const make = async () => {
    const partial = `${kept}.partial`;
    await bundle(request, root, partial);
    renameSync(partial, kept);
  };
  // Stages are evaluated side by side, and most have the same functions.
  await makeOnce(root, `bundle-${basename(kept)}`, () => existsSync(kept), make);
  copyFileSync(kept, outfile);
  return outfile;
}

/** The options of SST's Node runtime, `pkg/runtime/node/build.go` in its repository. */
async function bundle(request: BuildRequest, root: string, outfile: string): Promise<void> {
  const { install = {}, minify = false } = request.properties;
  await esbuild.build({
    entryPoints: [join(root, request.handler.replace(/\.[^.]+$/, '.ts'))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    mainFields: ['module', 'main'],
    external: ['sharp', 'pg-native', ...Object.keys(install)],
    keepNames: true,
    minify,
    logLevel: 'silent',
    banner: {
      js: [
        "import { createRequire as topLevelCreateRequire } from 'module';",
        'const require = topLevelCreateRequire(import.meta.url);',
        "import { fileURLToPath as topLevelFileUrlToPath, URL as topLevelURL } from 'url';",
        'const __filename = topLevelFileUrlToPath(import.meta.url);',
        "const __dirname = topLevelFileUrlToPath(new topLevelURL('.', import.meta.url));",
      ].join('\n'),
    },
  });
}
