import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cacheDir, isOffline } from '@video-pipeline/assets';
import { freePort, readPid } from '../../../packages/local/src/supervisor/processes.ts';

/** Packages of PyPI that a peer is made of, pinned. */
export interface PythonPeer {
  name: string;
  packages: readonly string[];
  /** Those that are installed without what they ask for. */
  bare?: readonly string[];
}

/** ultralytics (AGPL-3.0) on PyTorch, behind FastAPI. Some gigabytes, as PyPI's PyTorch for Linux carries CUDA. */
export const ULTRALYTICS: PythonPeer = {
  name: 'ultralytics',
  packages: [
    'ultralytics==8.4.190',
    'torch==2.15.0',
    'torchvision==0.29.2',
    'onnx==1.23.2',
    'onnxruntime==1.30.0',
    'openvino==2026.4.1',
    'fastapi==0.165.0',
    'uvicorn==0.54.0',
  ],
};

/** What ultralytics runs a model by. */
export const FORMS = ['pytorch', 'onnx', 'openvino'] as const;
export type Form = (typeof FORMS)[number];

/** @returns YOLOv8n of these weights behind FastAPI, on so many threads */
export function serveUltralytics(
  form: Form,
  weights: string,
  { threads, ...env }: { threads: number; PEER_THRESHOLD?: string },
): Promise<PeerServer> {
  return servePeer(ULTRALYTICS, ['test/bench/peers/yolov8n.py', 'serve', weights], {
    ...env,
    OMP_NUM_THREADS: String(threads),
    PEER_FORMAT: form,
  });
}

const run = promisify(execFile);

/** @returns the Python that has the peer installed, `undefined` when it has not been installed yet */
export async function installedPython(peer: PythonPeer): Promise<string | undefined> {
  const installed = await readFile(markerOf(peer), 'utf8').catch(() => '');
  return installed === contentOf(peer) ? pythonOf(peer) : undefined;
}

/** Installs the peer unless it is there, in an environment of its own under the cache. @returns its Python */
export async function peerPython(peer: PythonPeer): Promise<string> {
  const installed = await installedPython(peer);
  if (installed) return installed;
  if (isOffline())
    throw new Error(`${peer.name} is not installed, and VIDEO_PIPELINE_OFFLINE forbids to fetch it`);
  console.error(`installing ${peer.packages.join(', ')} from PyPI`);
  await run('python3', ['-m', 'venv', '--clear', '--without-pip', folderOf(peer)]);
  const [program, ...pip] = await pipFor(pythonOf(peer));
  const install = (...packages: readonly string[]) =>
    // Python compiles what it imports, which is little of all.
    run(program, [...pip, 'install', '--quiet', '--no-cache-dir', '--no-compile', ...packages]);
  await install(...peer.packages);
  if (peer.bare) await install('--no-deps', ...peer.bare);
  await writeFile(markerOf(peer), contentOf(peer));
  return pythonOf(peer);
}

/**
 * The command that installs into an environment: pip of the machine. A copy of pip in each environment takes half as long to
 * lay out as the packages take to install, so it is only made where the machine has no pip, or one before 22.3.
 */
async function pipFor(python: string): Promise<[string, ...string[]]> {
  const ofMachine = ['-m', 'pip', '--python', python];
  const hasPip = await run('python3', [...ofMachine, '--version']).then(
    () => true,
    () => false,
  );
  if (hasPip) return ['python3', ...ofMachine];
  await run(python, ['-m', 'ensurepip']);
  return [python, '-m', 'pip'];
}

const folderOf = ({ name }: PythonPeer) => join(cacheDir(), 'peers', name);
const pythonOf = (peer: PythonPeer) => join(folderOf(peer), 'bin/python');
const markerOf = (peer: PythonPeer) => join(folderOf(peer), 'installed');
const contentOf = ({ packages, bare = [] }: PythonPeer) => [...packages, ...bare].join('\n');

/** A server of a peer, measured from outside. */
export interface PeerServer {
  url: string;
  pid: number;
  stop(): Promise<void>;
}

const GUARD = join(import.meta.dirname, '../../../packages/local/src/servers/guard.sh');
/** Longest wait for a server to answer GET /health. ultralytics exports the model first, for minutes on a busy machine. */
const START_TIMEOUT_MS = 600_000;

/**
 * Runs `python <args> <port>` on a free port of 127.0.0.1.
 * @throws Error when it ends, or does not answer GET /health in time
 */
export async function servePeer(
  peer: PythonPeer,
  args: string[],
  env: Record<string, string> = {},
): Promise<PeerServer> {
  const python = await peerPython(peer);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const pidFile = join(folderOf(peer), `${port}.pid`);
  // Python doesn't notice that this process has ended.
  const child = spawn('sh', [GUARD, pidFile, python, ...args, String(port)], {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.stdin.destroy();
    await ended;
  };
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await fetch(`${url}/health`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) throw new Error(`${args.join(' ')} ended with ${child.exitCode}`);
    if (performance.now() > deadline) {
      await stop();
      throw new Error(`${args.join(' ')} does not answer`);
    }
    await sleep(200);
  }
  return { url, pid: readPid(pidFile) ?? Number.NaN, stop };
}
