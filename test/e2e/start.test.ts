import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runningState } from '../../packages/cli/src/running.ts';
import { freePort, signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { CommandHost } from '../support/command-host.ts';
import { unique } from '../support/unique.ts';
import { evenTimes, makeVideo } from '../support/video.ts';
import { startGivenServers } from './given-servers.ts';
import { ALWAYS, pidsOf, startStackProcess } from './stack-process.ts';

const PROGRAM = join(import.meta.dirname, '../../packages/local/src/start.ts');
const QUICK = { BATCH_TIMEOUT_SECONDS: '1' };

let folder: string;
const commands = new CommandHost();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'start-'));
});
afterAll(() => Promise.all([commands.stop(), rm(folder, { recursive: true, force: true })]));

/** For what ends before anything is started. */
function start(args: string[], env: NodeJS.ProcessEnv = {}) {
  return commands.run(PROGRAM, ['--data-dir', join(folder, 'errors'), ...args], env);
}

describe('npm start', () => {
  it('--help lists its options', async () => {
    const { code, stdout } = await start(['--help']);
    expect(code).toBe(0);
    for (const option of [
      '--source',
      '--frames',
      '--json',
      '--model',
      '--frame-rate',
      '--ports',
      '--no-console',
      '--open',
      '--data-dir',
    ]) {
      expect(stdout).toContain(option);
    }
  });

  it('leaves no pid file when it is stopped just after it has written the file', async () => {
    const [dataDir, preload] = [join(folder, 'soon'), join(folder, 'preload.mjs')];
    const stopItself = `import fs from 'node:fs/promises';
      import { syncBuiltinESMExports } from 'node:module';
      const { writeFile } = fs;
      fs.writeFile = async (file, ...rest) => {
        await writeFile(file, ...rest);
        if (String(file).endsWith('supervisor.pid')) process.kill(process.pid, 'SIGTERM');
      };
      syncBuiltinESMExports();`;
    await writeFile(preload, stopItself);
    const { exited, output } = startStackProcess(dataDir, [], {
      NODE_OPTIONS: `--import ${pathToFileURL(preload)}`,
    });
    expect(await exited).toEqual({ code: 1, signal: null });
    expect(output.stderr).toBe('stopped before it had started\n');
    expect(await readdir(join(dataDir, 'run'))).toEqual([]);
  });

  it.each([
    [['--frames', '0'], 'must be a whole number from 1 on'],
    [['--frame-rate', 'x'], 'must be over 0'],
    [['--source', 'none.mp4'], '--source none.mp4: there is no file'],
    [['--model', 'none.onnx'], '--model: there is no file'],
    [['--ports', 'some'], 'Allowed choices are default, auto'],
    [['--data-dir', '/proc/none'], "/proc/none/run can't be written"],
  ])('rejects %j with one line', async (args, message) => {
    const { code, stdout, stderr } = await start(args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(message);
  });

  it.each([
    ['- {id: "S\u00fcd", url: a.mp4}', "line 1: 'id' must be letters"],
    ['streams: []', 'must be a list of streams'],
    ['- {id: yard, url: a.mp4, scene: {zones: {a: {}}}}', "line 1: 'scene.zones.a.polygon'"],
  ])('rejects a STREAMS_FILE of %j with one line, before anything starts', async (list, message) => {
    const file = join(folder, 'wrong.yaml');
    await writeFile(file, list);
    const { code, stderr } = await start([], { STREAMS_FILE: file });
    expect(code).toBe(1);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(`${file}: ${message}`);
  });

  it('rejects a HOST that is not an address of this machine, with the remedy', async () => {
    const { code, stderr } = await start([], { HOST: '192.0.2.1' });
    expect(code).toBe(1);
    expect(stderr.trim()).toBe(
      'HOST=192.0.2.1 is no address of this machine: unset it, or set it to one, or to 0.0.0.0',
    );
  });

  it('with KAFKA_BOOTSTRAP_SERVERS of a server that does not respond fails with its address', async () => {
    const nobody = `127.0.0.1:${await freePort()}`;
    const { code, stderr } = await start([], { KAFKA_BOOTSTRAP_SERVERS: nobody });
    expect(code).toBe(1);
    expect(stderr).toContain(
      `nothing answers at KAFKA_BOOTSTRAP_SERVERS=${nobody}: start it, or unset KAFKA_BOOTSTRAP_SERVERS`,
    );
  });
});

describe("npm start with the user's own Kafka and S3 API", () => {
  let given: Awaited<ReturnType<typeof startGivenServers>>;
  beforeAll(async () => {
    given = await startGivenServers({ width: 320, height: 240 });
  });
  afterAll(() => given?.stop());

  it.each([
    ['HEALTH_PORT', "the ingest host's health"],
    ['CONSOLE_PORT', 'the console'],
  ])('names the variable %s of a port in use, what it is for, and the remedy', async (variable, name) => {
    const taken: Server = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const { code, stderr } = await start(['--source', PROGRAM], {
      ...given.environment(),
      PORT: '0',
      HEALTH_PORT: '0',
      CONSOLE_PORT: '0',
      [variable]: String(port),
    });
    taken.close();
    expect(code).toBe(1);
    const line = new RegExp(
      `^port ${port}, meant for ${name}, is taken: set ${variable} to another.*, or start with --ports auto$`,
      'm',
    );
    expect(stderr).toMatch(line);
  });

  it('plays the streams of STREAMS_FILE, also those added while it runs, and ends when npm is killed', async () => {
    const video = await makeVideo(join(folder, 'listed.mp4'), { times: evenTimes(75, 25) });
    const STREAMS_FILE = join(folder, 'my.yaml');
    const line = (id: string) => `- {id: ${id}, url: ${JSON.stringify(`${video}?loop`)}}\n`;
    await writeFile(STREAMS_FILE, line('first'));
    const dataDir = join(folder, unique('listed'));
    const options = ['--ports', 'auto', '--frame-rate', '2', '--no-console', '--data-dir', dataDir];
    const npm = spawn('npm', ['start', '--', ...options], {
      cwd: join(import.meta.dirname, '../..'),
      env: { ...process.env, ...QUICK, ...given.environment(), STREAMS_FILE },
      stdio: 'ignore',
    });
    onTestFinished(() => void npm.kill('SIGKILL'));
    /** The state once the stream has an annotated frame. */
    const annotated = (id: string) =>
      vi.waitFor(
        async () => {
          const state = await runningState(dataDir);
          if (state?.streams[id]?.annotated) return state;
          throw new Error(`no frame of ${id}: ${JSON.stringify(state)}`);
        },
        { timeout: 120_000, interval: 200 },
      );
    expect((await annotated('first')).services).not.toHaveProperty('cameras');
    await writeFile(STREAMS_FILE, line('first') + line('second'));
    const state = await annotated('second');
    expect(Object.keys(state.streams).sort()).toEqual(['first', 'second']);
    const pids = pidsOf(state);
    // The compactor may be one more.
    expect(pids.length).toBeGreaterThanOrEqual(5);
    npm.kill('SIGKILL');
    const left = () => pids.filter((pid) => signalProcess(pid, 0));
    await expect.poll(left, { timeout: 15_000, interval: 100 }).toEqual([]);
  });

  it("plays a file once and ends when all its frames are annotated, with the user's inference server", async () => {
    const name = unique('short clip');
    const id = name.replace(' ', '-');
    const video = await makeVideo(join(folder, `${name}.mp4`), { times: evenTimes(75, 25) });
    const environment = given.environment();
    const stack = startStackProcess(join(folder, id), ['--source', video, '--json', '--no-console'], {
      ...QUICK,
      ...environment,
      ...given.inference,
    });
    onTestFinished(stack.stop);
    const { code } = await stack.exited;
    expect(code, stack.output.stderr).toBe(0);
    const summary = JSON.parse(stack.output.stdout);
    // Three seconds at ten frames a second.
    expect(summary.frames[id]).toMatchObject({
      captured: 30,
      dropped: 0,
      annotated: 30,
      failed: 0,
    });
    expect(Object.keys(summary.processes).sort()).toEqual(['ingest', 'supervisor', ...ALWAYS].sort());
    expect(summary.output).toBe(`${given.s3}/${environment.S3_BUCKET}/annotated`);
    const stored = await given.keys(environment.S3_BUCKET, `annotated/${id}/`);
    expect(stored.filter((key) => key.endsWith('.jpg'))).toHaveLength(30);
  });
});
