import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { pidSpace } from '@video-pipeline/lifecycle';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { serveFiles, serveProxy, type TestServer } from '../../../test/support/repository-server.ts';
import { keepCompiled, writeWhole } from './cache.ts';
import { fetchJars, type Jar } from './jars.ts';

const CONTENT = randomBytes(300_000);
const PATH = 'org/example/it/1.0/it-1.0.jar';
const JAR: Jar = {
  path: PATH,
  bytes: CONTENT.length,
  sha256: createHash('sha256').update(CONTENT).digest('hex'),
};

let home: string;
let cache: string;
const open: TestServer[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'download-'));
  cache = join(home, 'cache');
  vi.stubEnv('HOME', home);
  vi.stubEnv('VIDEO_PIPELINE_CACHE', cache);
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toUpperCase(), undefined);
  }
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const server of open.splice(0)) await server.close();
  await rm(home, { recursive: true, force: true });
});

async function serve(...args: Parameters<typeof serveFiles>): Promise<TestServer> {
  const server = await serveFiles(...args);
  open.push(server);
  return server;
}

/** settings.xml with a mirror of Central, and whatever more. */
async function settings(url: URL, more = ''): Promise<void> {
  await mkdir(join(home, '.m2'), { recursive: true });
  await writeFile(
    join(home, '.m2', 'settings.xml'),
    `<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>${url}</url></mirror></mirrors>${more}</settings>`,
  );
}

const fetched = async () => readFile((await fetchJars('it', [JAR]))[0] ?? '');
const left = async () => (await readdir(join(cache, 'maven', PATH, '..')).catch(() => [])).sort();

/** The same in a process of its own; resolves with its output. */
const SCRIPT = `
  const { fetchJars } = await import(${JSON.stringify(join(import.meta.dirname, 'index.ts'))});
  await fetchJars('it', [${JSON.stringify(JAR)}], console.log).catch((error) => console.log(error.message));`;
const COMMAND = [process.execPath, '--input-type=module', '--eval', SCRIPT] as const;

/** Bytes of the file that is being downloaded. */
async function partBytes(): Promise<number> {
  const part = (await left()).find((name) => name.includes('.part-'));
  return part === undefined ? 0 : (await stat(join(cache, 'maven', PATH, '..', part))).size;
}

describe('a download', () => {
  it('uses the configured mirror, verifies the hash, and sends one request for repeated calls', async () => {
    const { url, requests } = await serve({ [`/maven/${PATH}`]: CONTENT });
    await settings(new URL('maven', url));
    expect(await fetched()).toEqual(CONTENT);
    expect(await fetched()).toEqual(CONTENT);
    expect(requests.map(({ line }) => line)).toEqual([`GET /maven/${PATH}`]);
    expect(await left()).toEqual(['it-1.0.jar']);
  });

  it('reports the name, the host and the size', async () => {
    const { url } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    const notes: string[] = [];
    await fetchJars('It 1.0', [JAR], (line) => notes.push(line));
    expect(notes).toEqual([`fetching It 1.0 from ${url.host} (0.3 MB)`]);
  });

  it('resumes after the bytes it has when a response is cut off', async () => {
    let times = 0;
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT }, (request, response) => {
      if (times++ > 0) return false;
      response.writeHead(200, { 'content-length': CONTENT.length });
      response.write(CONTENT.subarray(0, 100_000));
      // What the client has not read yet is lost with the connection.
      void expect
        .poll(partBytes, { interval: 10, timeout: 10_000 })
        .toBe(100_000)
        .finally(() => request.socket.destroy());
      return true;
    });
    await settings(url);
    expect(await fetched()).toEqual(CONTENT);
    expect(requests.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=100000-']);
  });

  it('resumes the partial file of a killed process, and starts again if that file has other content', async () => {
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    await mkdir(join(cache, 'maven', PATH, '..'), { recursive: true });
    const gone = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(gone, 'exit');
    const partial = `${join(cache, 'maven', PATH)}.part-${pidSpace()}-${gone.pid}-x`;
    await writeFile(partial, CONTENT.subarray(0, 200_000));
    expect(await fetched()).toEqual(CONTENT);
    await rm(join(cache, 'maven', PATH));
    await writeFile(partial, randomBytes(5_000));
    expect(await fetched()).toEqual(CONTENT);
    expect(requests.map(({ headers }) => headers.range)).toEqual(['bytes=200000-', 'bytes=5000-', undefined]);
    expect(await left()).toEqual(['it-1.0.jar']);
  });

  it('leaves a growing partial file of another container alone, and takes it over long after', async () => {
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    await mkdir(join(cache, 'maven', PATH, '..'), { recursive: true });
    // No process here has this id: so it looked as if its process had ended.
    const partial = `${join(cache, 'maven', PATH)}.part-0a1b2c3d.4026532584-999999999-x`;
    await writeFile(partial, CONTENT.subarray(0, 200_000));
    expect(await fetched()).toEqual(CONTENT);
    expect(await left()).toEqual(['it-1.0.jar', basename(partial)]);

    await rm(join(cache, 'maven', PATH));
    const longAgo = Date.now() / 1000 - 3_600;
    await utimes(partial, longAgo, longAgo);
    expect(await fetched()).toEqual(CONTENT);
    expect(await left()).toEqual(['it-1.0.jar']);
    expect(requests.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=200000-']);
  });

  it("whose partial file another process took over is fetched again, or that process's file is used", async () => {
    const { url } = await serve({ [`/${PATH}`]: CONTENT }, (_request, response) => {
      const rest = async () => {
        await expect.poll(partBytes, { interval: 10, timeout: 10_000 }).toBe(100_000);
        const folder = join(cache, 'maven', PATH, '..');
        const part = (await left()).find((name) => name.includes('.part-')) ?? '';
        await rename(join(folder, part), join(folder, 'theirs'));
        await writeFile(join(cache, 'maven', PATH), CONTENT);
        response.end(CONTENT.subarray(100_000));
      };
      response.writeHead(200, { 'content-length': CONTENT.length });
      response.write(CONTENT.subarray(0, 100_000));
      void rest();
      return true;
    });
    await settings(url);
    expect(await fetched()).toEqual(CONTENT);
  });

  it('fails with file, host and remedy after many truncated responses, and keeps the bytes it has', async () => {
    const { url } = await serve({}, (request, response) => {
      const from = Number(/\d+/.exec(request.headers.range ?? '0')?.[0]);
      response.writeHead(from ? 206 : 200, { 'content-length': CONTENT.length - from });
      response.write(CONTENT.subarray(from, from + 100), () => request.socket.destroy());
      return true;
    });
    await settings(url);
    await expect(fetched()).rejects.toThrow(
      /^can't fetch it-1\.0\.jar from 127\.0\.0\.1:\d+: the answer of 127\.0\.0\.1:\d+ broke off after \d+ of 300000 bytes; start again: the download resumes there$/,
    );
    expect(await left()).toEqual(['it-1.0.jar.part']);
  });

  it('is rejected when the hash differs, and leaves no file', async () => {
    const { url } = await serve({ [`/${PATH}`]: `${CONTENT}x` });
    await settings(url);
    await expect(fetched()).rejects.toThrow(
      /^can't fetch it-1\.0\.jar from 127\.0\.0\.1:\d+: 127\.0\.0\.1:\d+ sends something else than the pinned file: sha256-.*; a mirror or proxy changes it: check the mirrors in ~\/\.m2\/settings\.xml$/,
    );
    expect(await left()).toEqual([]);
  });

  it.each([
    [404, 'it has no such file; check the mirrors in ~/.m2/settings.xml'],
    [401, 'it wants other credentials; set them in the servers in ~/.m2/settings.xml'],
  ])('fails with a remedy when the server responds with %i', async (status, remedy) => {
    const { url, requests } = await serve({}, (_, response) => !!response.writeHead(status).end());
    await settings(url);
    await expect(fetched()).rejects.toThrow(
      `can't fetch it-1.0.jar from ${url.host}: ${url.host} answers ${status}: ${remedy}`,
    );
    expect(requests).toHaveLength(1);
  });

  it('is retried while the server responds with 503', async () => {
    let times = 0;
    const { url } = await serve({ [`/${PATH}`]: CONTENT }, (_, response) => {
      return times++ < 2 && !!response.writeHead(503).end();
    });
    await settings(url);
    expect(await fetched()).toEqual(CONTENT);
  });

  it('sends its credentials to their host, and to no host that a redirect leads to', async () => {
    const second = await serve({ '/elsewhere': CONTENT });
    const first = await serve({}, (_, response) => {
      return !!response.writeHead(302, { location: new URL('elsewhere', second.url).href }).end();
    });
    await settings(
      first.url,
      '<servers><server><id>m</id><username>ann</username><password>p&amp;w</password></server></servers>',
    );
    expect(await fetched()).toEqual(CONTENT);
    expect(first.requests[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('ann:p&w').toString('base64')}`,
    );
    expect(second.requests[0]?.headers.authorization).toBeUndefined();
  });

  it.each(['http', 'https'])('fails with a remedy when a proxy requires a password (%s)', async (scheme) => {
    const proxy = await serveProxy('ann:secret');
    open.push(proxy);
    const { hostname, port } = proxy.url;
    await settings(
      new URL(`${scheme}://central.example/`),
      `<proxies><proxy><host>${hostname}</host><port>${port}</port></proxy></proxies>`,
    );
    await expect(fetched()).rejects.toThrow(
      "can't fetch it-1.0.jar from central.example: the proxy asks for a user and password (407); write them as http://user:password@proxy:port into the proxies in ~/.m2/settings.xml",
    );
  });

  it('uses the proxy with the configured password', async () => {
    const proxy = await serveProxy('ann:secret');
    open.push(proxy);
    await settings(
      new URL('http://central.example/'),
      `<proxies><proxy><host>127.0.0.1</host><port>${proxy.url.port}</port><username>ann</username><password>secret</password></proxy></proxies>`,
    );
    const bytes = Buffer.from(`/${PATH}`); // what that proxy answers with
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const [path = ''] = await fetchJars('it', [{ ...JAR, sha256 }]);
    expect(await readFile(path)).toEqual(bytes);
    expect(proxy.requests.map(({ line }) => line)).toEqual([`GET http://central.example/${PATH}`]);
  });

  it('uses a proxy without a scheme in its address, as curl does', async () => {
    const proxy = await serveProxy('ann:secret');
    open.push(proxy);
    await settings(new URL('http://central.example/'));
    vi.stubEnv('HTTP_PROXY', `ann:secret@${proxy.url.host}`);
    await expect(fetched()).rejects.toThrow('sends something else than the pinned file');
    expect(proxy.requests.map(({ line }) => line)).toEqual([`GET http://central.example/${PATH}`]);
  });

  it.each(['socks5://ann:secret@127.0.0.1:1080', 'http://ann:se%cret@127.0.0.1:1', 'http://127.0.0.1:99999'])(
    'with an invalid proxy fails without a direct request, and hides the password: %s',
    async (proxy) => {
      const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
      await settings(url);
      vi.stubEnv('HTTP_PROXY', proxy);
      const line = await fetched().catch(({ message }) => message);
      expect(line).toMatch(
        /the proxy that is set up is not of the form .*; check .*, HTTP_PROXY and HTTPS_PROXY$/,
      );
      expect(line).not.toContain('cret@');
      expect(requests).toEqual([]);
    },
  );

  it('sends no request in offline mode, and fails with the command to load the files', async () => {
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
    await expect(fetched()).rejects.toThrow(
      `it-1.0.jar is not in ${cache}, and nothing may be fetched (--offline): run 'npm run local -- fetch' once with a network`,
    );
    vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '');
    await fetched();
    vi.stubEnv('VIDEO_PIPELINE_OFFLINE', '1');
    expect(await fetched()).toEqual(CONTENT);
    expect(requests).toHaveLength(1);
  });

  it('can run in two processes at once', async () => {
    const { url } = await serve({ [`/${PATH}`]: CONTENT }, (request, response) => {
      setTimeout(() => response.writeHead(200).end(CONTENT), request.headers.range ? 0 : 300);
      return true;
    });
    await settings(url);
    const [node, ...args] = COMMAND;
    const outputs = await Promise.all([1, 2].map(() => promisify(execFile)(node, args)));
    const began = `fetching it from ${url.host} (0.3 MB)\n`;
    expect(outputs.map(({ stdout }) => stdout)).toEqual([began, began]);
    expect(await fetched()).toEqual(CONTENT);
    expect(await left()).toEqual(['it-1.0.jar']);
  });

  it('uses a file that Maven has already fetched', async () => {
    const { url, requests } = await serve({});
    await settings(url, `<localRepository>${join(home, 'own')}</localRepository>`);
    await mkdir(join(home, 'own', PATH, '..'), { recursive: true });
    await writeFile(join(home, 'own', PATH), CONTENT);
    // Kafka and S3Proxy start side by side, and share jars.
    expect(await Promise.all([fetched(), fetched(), fetched()])).toEqual([CONTENT, CONTENT, CONTENT]);
    expect(requests).toEqual([]);
    expect(await left()).toEqual(['it-1.0.jar']);
  });

  it("is made if Maven's path is a folder, and made again if the cached file is truncated", async () => {
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    await mkdir(join(home, '.m2', 'repository', PATH), { recursive: true });
    expect(await fetched()).toEqual(CONTENT);
    await writeFile(join(cache, 'maven', PATH), CONTENT.subarray(0, 1_000));
    expect(await fetched()).toEqual(CONTENT);
    expect(requests).toHaveLength(2);
    expect(await left()).toEqual(['it-1.0.jar']);
  });

  it('can run several times at once in one process', async () => {
    const { url } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    expect(await Promise.all([fetched(), fetched(), fetched()])).toEqual([CONTENT, CONTENT, CONTENT]);
    expect(await left()).toEqual(['it-1.0.jar']);
  });
});

it('a file with a name of 255 bytes is written completely, or not at all', async () => {
  const path = join(home, 'new', 'n'.repeat(255));
  const fail = async (partial: string) => {
    await writeFile(partial, 'half');
    throw new Error('broke off');
  };
  await expect(writeWhole(path, fail)).rejects.toThrow('broke off');
  expect(await readdir(dirname(path))).toEqual([]);
  await writeWhole(path, (partial) => writeFile(partial, 'whole'));
  expect(await readFile(path, 'utf8')).toBe('whole');
  expect(await readdir(dirname(path))).toEqual([basename(path)]);
});

// Where Node's own recursive mkdir never returns.
it.runIf(process.platform === 'linux')(
  'a cache folder that can not be created is an error with the remedy',
  async () => {
    vi.stubEnv('VIDEO_PIPELINE_CACHE', '/proc/none/cache');
    const { url } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    await keepCompiled();
    await expect(fetched()).rejects.toThrow(
      "can't store it-1.0.jar: /proc/none/cache can't be written (ENOENT); name another folder with VIDEO_PIPELINE_CACHE",
    );
  },
);

/** Whether this user may make a file system of its own, as Linux lets most. */
const mayMount = await promisify(execFile)('unshare', ['-rm', 'true']).then(
  () => true,
  () => false,
);

describe.skipIf(!mayMount)('a download to a disk', () => {
  const inFileSystem = async (options: string) => {
    const script = `mount -t tmpfs -o ${options} tmpfs "$VIDEO_PIPELINE_CACHE" && exec "$@"`;
    const { stdout } = await promisify(execFile)('unshare', ['-rm', 'sh', '-c', script, 'sh', ...COMMAND]);
    return stdout.trim().split('\n').at(-1);
  };
  beforeEach(() => mkdir(cache, { recursive: true }));

  it('that is full fails with the remedy', async () => {
    const { url } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    expect(await inFileSystem('size=100k')).toBe(
      `can't store it-1.0.jar: ${cache} is full; make room there, or name another folder with VIDEO_PIPELINE_CACHE`,
    );
  });

  it("that is full fails with the remedy, also when the jar comes from Maven's folder", async () => {
    const own = join(home, '.m2', 'repository', PATH);
    await mkdir(dirname(own), { recursive: true });
    await writeFile(own, CONTENT);
    expect(await inFileSystem('size=100k')).toContain(`can't store it-1.0.jar: ${cache} is full`);
  });

  it('that is read-only fails with the remedy', async () => {
    const { url, requests } = await serve({ [`/${PATH}`]: CONTENT });
    await settings(url);
    expect(await inFileSystem('ro')).toBe(
      `can't store it-1.0.jar: ${cache} can't be written (EROFS); name another folder with VIDEO_PIPELINE_CACHE`,
    );
    expect(requests).toEqual([]);
  });
});
