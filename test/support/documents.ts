import { globSync } from 'node:fs';
import { resolve } from 'node:path';

/** Every document of this project, from its root. */
export const documents = globSync(
  ['*.md', '.github/*.md', '{docs,examples,packages,functions,ingest-host,model,infra,test}/**/*.md'],
  { cwd: resolve(import.meta.dirname, '../..'), exclude: (path) => path.includes('node_modules') },
).sort();
