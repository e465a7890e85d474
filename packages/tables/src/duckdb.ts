import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';

export type Row = Record<string, unknown>;

/** A database in memory, with a folder of its own on the disk. */
export interface Database {
  /** Files that it may read and write lie here. */
  folder: string;
  /** Runs one statement; of the values those are bound that it names as `$name`, and none is part of its text. @throws Error when `signal` aborts, at once */
  run(sql: string, values?: Record<string, DuckDBValue>, signal?: AbortSignal): Promise<Row[]>;
  close(): Promise<void>;
}

/** What does not fit is spilled to the disk. */
const MEMORY = '512MB';
const THREADS = '2';

/** Opens DuckDB. Its library is loaded now: 70 MB, which nobody needs who asks nothing. */
export async function openDatabase(): Promise<Database> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const folder = await mkdtemp(join(tmpdir(), 'video-pipeline-tables-'));
  await mkdir(join(folder, 'spill'));
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: MEMORY,
    threads: THREADS,
    temp_directory: join(folder, 'spill'),
    // Extensions would be fetched from the network; JSON and Parquet are part of the library.
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  const connection = await instance.connect();
  // Files are written anew under their names, within the second by which DuckDB tells an old one: it would read parts of what
  // is no more.
  await connection.run('SET enable_external_file_cache = false');
  await connection.run('SET parquet_metadata_cache = false');
  // Whatever a statement says: no other file is read or written.
  await connection.run(`SET allowed_directories = ['${folder.replaceAll("'", "''")}']`);
  await connection.run('SET enable_external_access = false');
  await connection.run('SET lock_configuration = true');
  let turn: Promise<unknown> = Promise.resolve();
  return {
    folder,
    run(sql, values, signal) {
      // One connection runs one statement at a time.
      const rows = turn.then(() => runOne(connection, sql, values, signal));
      turn = rows.catch(() => {});
      return rows;
    },
    async close() {
      await turn;
      connection.closeSync();
      instance.closeSync();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function runOne(
  connection: DuckDBConnection,
  sql: string,
  values: Record<string, DuckDBValue> | undefined,
  signal: AbortSignal | undefined,
): Promise<Row[]> {
  signal?.throwIfAborted();
  const named = Object.entries(values ?? {}).filter(([name]) => new RegExp(`\\$${name}\\b`).test(sql));
  const interrupt = () => connection.interrupt();
  signal?.addEventListener('abort', interrupt);
  try {
    return (await connection.runAndReadAll(sql, Object.fromEntries(named))).getRowObjectsJS();
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', interrupt);
  }
}

/** A list of paths as SQL has it. Names of files are ours, made of letters and digits. */
export function fileList(paths: readonly string[]): string {
  return `[${paths.map((path) => `'${path.replaceAll("'", "''")}'`).join(', ')}]`;
}
