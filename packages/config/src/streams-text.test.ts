import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ConfigError } from './config.ts';
import { readStreamsText } from './streams-text.ts';

test('STREAMS takes precedence over STREAMS_FILE, and a missing file is an error that names it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'streams-'));
  const path = join(folder, 'streams.yaml');
  writeFileSync(path, '- id: yard\n');
  try {
    expect(readStreamsText({ STREAMS: '[]', STREAMS_FILE: path })).toEqual({ text: '[]', where: 'STREAMS' });
    expect(readStreamsText({ STREAMS: undefined, STREAMS_FILE: path })).toEqual({
      text: '- id: yard\n',
      where: path,
    });
    expect(readStreamsText({ STREAMS: undefined, STREAMS_FILE: undefined })).toBeUndefined();
    const absent = () => readStreamsText({ STREAMS: undefined, STREAMS_FILE: join(folder, 'absent') });
    expect(absent).toThrow(ConfigError);
    expect(absent).toThrow(/^STREAMS_FILE: can't read /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
