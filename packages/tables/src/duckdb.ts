import { rmSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { signalProcess } from '@video-pipeline/lifecycle';
import { inTurn } from '@video-pipeline/storage';

export type Row = Record<string, unknown>;
type Values = Record<string, DuckDBValue>;

/** A database in memory, with its own folder on the disk. */
export interface Database {
  /** The only folder whose files it may read and write. */
  folder: string;
  /**
   * Runs one statement. It binds the values that the statement names as `$name`. No value becomes part of the text.
   * @throws Error when `signal` aborts, at once
   */
  run(sql: string, signal?: AbortSignal, values?: Values): Promise<Row[]>;
  /** Ends the statement that runs, and removes the folder. */
  close(): Promise<void>;
}

/** Data beyond this memory is spilled to the disk. */
const MEMORY = '512MB';
const THREADS = '2';
/** A cancelled statement is interrupted at this interval until it ends, milliseconds. */
const INTERRUPT_MS = 20;

/** The process id follows. The name contains the host's name, since containers may share the parent folder. */
const FOLDER = `video-pipeline-tables-${hostname()}-`;
/** Folders of the databases that this process has open. */
const folders = new Set<string>();
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Makes a folder. Removes the folders of processes that were killed. */
async function ownFolder(): Promise<string> {
  const began = Date.now() - process.uptime() * 1000;
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(FOLDER) ? Number.parseInt(name.slice(FOLDER.length), 10) : 0;
    // In a container, the former process had the same id.
    const path = join(tmpdir(), name);
    const { mtimeMs = began } = statSync(path, { throwIfNoEntry: false }) ?? {};
    const isEarlier = pid === process.pid && !folders.has(path) && mtimeMs < began;
    // Another process may remove it at the same time.
    if (pid > 0 && (isEarlier || !signalProcess(pid, 0)))
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER}${process.pid}-`));
  folders.add(folder);
  return folder;
}

/**
 * Opens DuckDB. Its library of 70 MB is loaded only now, so that processes without a query don't load it.
 * @param eachFileIsNew no Parquet file is written over another, so cached metadata of a file stay valid
 */
export async function openDatabase({ eachFileIsNew = false } = {}): Promise<Database> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const folder = await ownFolder();
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
  // DuckDB compares the times of files in whole seconds, but files are rewritten under the same name within a second.
  // A cache would then return parts of the former file.
  await connection.run('SET enable_external_file_cache = false');
  await connection.run(`SET parquet_metadata_cache = ${eachFileIsNew}`);
  // No statement can read or write another file.
  await connection.run(`SET allowed_directories = ['${folder.replaceAll("'", "''")}']`);
  await connection.run('SET enable_external_access = false');
  await connection.run('SET lock_configuration = true');
  // One connection runs one statement at a time.
  const next = inTurn();
  const closing = new AbortController();
  return {
    folder,
    run(sql, signal, values = {}) {
      const stop = AbortSignal.any([closing.signal, ...(signal ? [signal] : [])]);
      return next(() => runOne(connection, sql, stop, values));
    },
    async close() {
      closing.abort(new Error('the database is closed'));
      await next(async () => {});
      connection.closeSync();
      instance.closeSync();
      // A query may still be writing a file into it.
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      folders.delete(folder);
    },
  };
}

async function runOne(
  connection: DuckDBConnection,
  sql: string,
  signal: AbortSignal,
  values: Values,
): Promise<Row[]> {
  signal.throwIfAborted();
  const named = Object.entries(values).filter(([name]) => new RegExp(`\\$${name}\\b`).test(sql));
  let again: NodeJS.Timeout | undefined;
  const interrupt = () => {
    connection.interrupt();
    // A statement that has not begun yet does not notice.
    again = setTimeout(interrupt, INTERRUPT_MS);
  };
  signal.addEventListener('abort', interrupt);
  try {
    return (await connection.runAndReadAll(sql, Object.fromEntries(named))).getRowObjectsJS();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', interrupt);
    clearTimeout(again);
  }
}

/** A list of paths as SQL. The names of the files are made here, of letters and digits. */
export function fileList(paths: readonly string[]): string {
  return `[${paths.map((path) => `'${path.replaceAll("'", "''")}'`).join(', ')}]`;
}
