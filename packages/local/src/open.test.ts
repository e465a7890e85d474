import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openBrowser } from './open.ts';

const URL = 'http://127.0.0.1:8080';

describe('opening a browser', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'open-'));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  it('passes the URL to the opener of the system', async () => {
    for (const name of ['open', 'xdg-open']) {
      writeFileSync(join(folder, name), `#!/bin/sh\necho "$@" > ${folder}/opened\n`);
      chmodSync(join(folder, name), 0o755);
    }
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
    openBrowser(URL, () => {});
    await vi.waitFor(() => expect(readFileSync(join(folder, 'opened'), 'utf8')).toBe(`${URL}\n`), 5_000);
  });

  it('prints the URL when there is no opener', async () => {
    vi.stubEnv('PATH', folder);
    const text = await new Promise((resolve) => openBrowser(URL, resolve));
    expect(text).toContain(`open ${URL} yourself`);
  });
});
