import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Opening does not block if the file is a pipe. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Opens a file to read it. The caller closes it.
 * @throws Error for a folder, a pipe or a device; the errors of the file system, which have a `code`
 */
export async function openFile(path: string): Promise<FileHandle> {
  const file = await open(path, READ);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new Error('it is a folder or a device, and no file');
}
