import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * Compares the text between two marks of a file with its source. `npm run generate` writes the text instead. In YAML
 * the marks are comments, and several places may have the same marks.
 */
export function expectGenerated(file: string, mark: string, made: string): void {
  const path = join(ROOT, file);
  const text = readFileSync(path, 'utf8');
  const isYaml = file.endsWith('.yaml');
  const marks = isYaml
    ? new RegExp(`( *# ${mark}:.*\\n)[\\s\\S]*?( *# /${mark}\\n)`, 'g')
    : new RegExp(`( *<!-- ${mark}:.*-->\\n)[\\s\\S]*?( *<!-- /${mark} -->)`);
  expect(text, file).toMatch(marks);
  const updated = text.replace(marks, (_, start, end) =>
    isYaml ? `${start}${made}${end}` : `${start}\n${made}\n\n${end}`,
  );
  if (process.env.UPDATE_README) writeFileSync(path, updated);
  else expect(text, `UPDATE_README=1 writes ${file}`).toBe(updated);
}
