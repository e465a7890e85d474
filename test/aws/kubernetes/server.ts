import { execFile, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cacheDir } from '@video-pipeline/assets';
import { freePort } from '../../../packages/local/src/supervisor/processes.ts';

const SOURCES = import.meta.dirname;
const TOKEN = 'of-this-test-alone';
const START_MS = 120_000;
const run = promisify(execFile);

const NODE_POOLS = 'pkg/apis/crds/karpenter.sh_nodepools.yaml';

/** Resource definitions of other projects: the Go module, its checksum, and the folder. */
const DEFINITIONS = [
  {
    module: 'sigs.k8s.io/karpenter@v1.11.2',
    sum: 'h1:XBI4hksFZ44yKVNN2vMvrKqnsfu2zrjg8HCcRsYY78Y=',
    files: [NODE_POOLS],
  },
  {
    module: 'github.com/kedacore/keda/v2@v2.20.2',
    sum: 'h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=',
    files: ['scaledobjects', 'triggerauthentications'].map((kind) => `config/crd/bases/keda.sh_${kind}.yaml`),
  },
];

/** The last version of Karpenter that restricts the labels of nodes. The version in Auto Mode is not known. */
const OLDER_KARPENTER = {
  module: 'sigs.k8s.io/karpenter@v1.8.2',
  sum: 'h1:HvgnZuZZarg7gdEXIecx6lV/QHNCQj6mHg0mI65ztRU=',
};

export interface Answer {
  status: number;
  body: any;
  /** What kubectl would print as warnings. */
  warnings: string[];
}

/** A Kubernetes API server with its etcd, on this machine alone. */
export interface Cluster {
  ask(method: string, path: string, body?: object): Promise<Answer>;
  /** Server-side apply, which rejects unknown fields. */
  apply(path: string, object: object): Promise<Answer>;
  stop(): Promise<void>;
}

/** Whether this machine can build it. */
export const hasGo = () =>
  run('go', ['version']).then(
    () => true,
    () => false,
  );

/** Builds kube-apiserver and etcd from their Go modules, pinned by go.sum, unless they are cached: minutes, once. */
async function build(): Promise<string> {
  const sources = ['main.go', 'go.mod', 'go.sum'].map((file) => readFileSync(join(SOURCES, file)));
  const hash = createHash('sha256').update(Buffer.concat(sources)).digest('hex').slice(0, 16);
  const program = join(cacheDir(), 'kubernetes', hash, 'kube');
  if (existsSync(program)) return program;
  process.stderr.write('building kube-apiserver and etcd from Go modules: some minutes, once\n');
  const version = ['Version=v1.35.4', 'Major=1', 'Minor=35'].map(
    (one) => `-X k8s.io/component-base/version.git${one}`,
  );
  await run('go', ['build', '-trimpath', '-ldflags', `-s -w ${version.join(' ')}`, '-o', program, '.'], {
    cwd: SOURCES,
    env: { ...process.env, GOFLAGS: '-buildvcs=false' },
  });
  return program;
}

async function filesOf({ module, sum }: { module: string; sum: string }, files: string[]): Promise<string[]> {
  const { stdout } = await run('go', ['mod', 'download', '-json', module], { cwd: tmpdir() });
  const { Dir, Sum } = JSON.parse(stdout);
  if (Sum !== sum) throw new Error(`${module} has the sum ${Sum}, not ${sum}`);
  return Promise.all(files.map((file) => readFile(join(Dir, file), 'utf8')));
}

/** @returns the custom resource definitions of Karpenter and KEDA, as YAML */
export async function definitions(): Promise<string[]> {
  return (await Promise.all(DEFINITIONS.map((one) => filesOf(one, one.files)))).flat();
}

/** @returns the older definition of a node pool, as YAML */
export async function olderNodePools(): Promise<string> {
  const [text = ''] = await filesOf(OLDER_KARPENTER, [NODE_POOLS]);
  return text;
}

/** @returns a file of Karpenter's, as text */
export async function karpenterSource(file: string): Promise<string> {
  const [text = ''] = await filesOf(DEFINITIONS[0] as (typeof DEFINITIONS)[0], [file]);
  return text;
}

/** @throws Error with the output of the servers if they do not become ready */
export async function startCluster(): Promise<Cluster> {
  const program = await build();
  const dir = await mkdtemp(join(tmpdir(), 'kubernetes-'));
  const [client, peer, secure] = [await freePort(), await freePort(), await freePort()];
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  await mkdir(join(dir, 'pki'));
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(join(dir, 'accounts.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(join(dir, 'tokens.csv'), `${TOKEN},test,test,system:masters\n`);
  let output = '';
  const start = (args: string[]) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (text) => {
      output = `${output}${text}`.slice(-4_000);
    });
    return { child, ended: new Promise<void>((resolve) => child.once('exit', () => resolve())) };
  };
  const servers = [
    start([
      'etcd',
      ...['--data-dir', join(dir, 'etcd'), '--unsafe-no-fsync', '--log-level', 'error'],
      ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `default=${peerUrl}`],
    ]),
    start([
      `--etcd-servers=${clientUrl}`,
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${secure}`],
      ...[`--cert-dir=${join(dir, 'pki')}`, `--token-auth-file=${join(dir, 'tokens.csv')}`],
      ...['--authorization-mode=RBAC', '--service-cluster-ip-range=10.96.0.0/16'],
      ...['--service-account-issuer=https://kubernetes.default.svc', '--endpoint-reconciler-type=none'],
      ...['key-file', 'signing-key-file'].map(
        (flag) => `--service-account-${flag}=${join(dir, 'accounts.key')}`,
      ),
    ]),
  ];
  async function stop(): Promise<void> {
    // The API server stops first: without its etcd it would wait.
    for (const { child, ended } of servers.toReversed()) {
      child.kill('SIGKILL');
      await ended;
    }
    await rm(dir, { recursive: true, force: true });
  }
  const ask = (method: string, path: string, body?: object, type = 'application/json') =>
    call({ port: secure, ca: join(dir, 'pki/apiserver.crt'), method, path, body, type });
  for (const until = Date.now() + START_MS; ; await sleep(200)) {
    const ready = await ask('GET', '/readyz').catch(() => undefined);
    if (ready?.status === 200) break;
    const isOver = servers.some(({ child }) => child.exitCode !== null) || Date.now() > until;
    if (isOver) {
      await stop();
      throw new Error(`the Kubernetes API server did not get ready: ${output}`);
    }
  }
  return {
    ask,
    apply: (path, object) =>
      ask(
        'PATCH',
        `${path}?fieldManager=test&fieldValidation=Strict`,
        object,
        'application/apply-patch+yaml',
      ),
    stop,
  };
}

interface Call {
  port: number;
  ca: string;
  method: string;
  path: string;
  body: object | undefined;
  type: string;
}

function call({ port, ca, method, path, body, type }: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': type };
    const options = { host: '127.0.0.1', port, method, path, headers, ca: readFileSync(ca), agent: false };
    const sent = request(options, async (response) => {
      const text = Buffer.concat(await Array.fromAsync(response)).toString();
      const warning = response.headers.warning;
      resolve({
        status: response.statusCode ?? 0,
        body: text.startsWith('{') ? JSON.parse(text) : text,
        warnings: [warning ?? []].flat(),
      });
    });
    sent.once('error', reject);
    sent.end(body && JSON.stringify(body));
  });
}
