import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { follow, printStage, sentence } from './logs.ts';

const folder = mkdtempSync(join(tmpdir(), 'logs-'));
const detect = { stage: 'staging', service: 'detect', lines: 2 };
const SHOWS_ARGUMENTS = '#!/bin/sh\necho first\necho second\necho "$@"\nexit 3\n';

beforeAll(() => {
  const aws = join(folder, 'aws');
  writeFileSync(aws, SHOWS_ARGUMENTS);
  chmodSync(aws, 0o755);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

describe('the logs of a stage', () => {
  it('are the last lines of its log group, with the exit code of the AWS CLI', async () => {
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
    const lines: string[] = [];
    expect(await printStage({ ...detect, follow: false }, (line) => lines.push(line))).toBe(3);
    expect(lines).toEqual(['second', 'logs tail /video-pipeline/staging/detect --format short']);
  });

  it('are printed as they arrive with --follow', async () => {
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
    const lines: string[] = [];
    await printStage({ ...detect, follow: true }, (line) => lines.push(line));
    expect(lines).toEqual([
      'first',
      'second',
      'logs tail /video-pipeline/staging/detect --format short --follow',
    ]);
  });

  it('without the AWS CLI fail with an error', async () => {
    vi.stubEnv('PATH', join(folder, 'none'));
    await expect(printStage({ ...detect, follow: false }, () => {})).rejects.toThrow("no 'aws' on PATH");
  });
});

describe('a followed log file', () => {
  it('continues at the last read position, across a rotation, and prints only whole lines', async () => {
    const file = join(folder, 'detect.log');
    writeFileSync(file, 'read\nsince \u00e4');
    const lines: string[] = [];
    const over = new AbortController();
    const following = follow(file, 'read\n'.length, (line) => lines.push(line), over.signal);
    appendFileSync(file, ' then\nnext');
    const last = () => expect.poll(() => lines.at(-1), { timeout: 10_000 });
    await last().toBe('since \u00e4 then');
    appendFileSync(file, ' one\n');
    await last().toBe('next one');
    // Where a full log is renamed, a new one begins.
    writeFileSync(file, 'new\n');
    await last().toBe('new');
    expect(lines).toEqual(['since \u00e4 then', 'next one', 'new']);
    over.abort();
    await expect(following).rejects.toThrow('aborted');
  });
});

describe('a log line', () => {
  it('in JSON is printed as a sentence', () => {
    const line = {
      level: 'WARN',
      message: "can't open the stream",
      timestamp: '2026-11-28T07:00:01.000Z',
      service: 'ingest',
      sampling_rate: 0,
      stream: 'yard',
      error: { name: 'SourceError', message: 'Connection refused', stack: 'at ...' },
    };
    expect(sentence(JSON.stringify(line))).toMatch(
      /^\d\d:\d\d:\d\d WARN can't open the stream; Connection refused, stream=yard$/,
    );
    expect(sentence(JSON.stringify({ ...line, error: 'open: no such stream (404)' }))).toContain(
      "WARN can't open the stream; open: no such stream (404), stream=yard",
    );
  });

  it('of another program is printed unchanged', () => {
    for (const line of ['[2026-11-28] INFO Kafka started', '{"a": 1}', '5', '{broken'])
      expect(sentence(line)).toBe(line);
  });
});
