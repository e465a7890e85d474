import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CLIPS, defaultModelPath, fetchAsset } from '@video-pipeline/assets';
import { ROOT } from './lightweight.ts';
import { installJava, JARS } from './servers/java.ts';
import { errorIn } from './supervisor/log.ts';
import { StartError, settleAll } from './supervisor/processes.ts';

/**
 * Fetches and builds in parallel what `npm start` needs, unless it is there.
 * @throws AssetError, StartError: the first error, once the others are done
 */
export async function prepare(note: (line: string) => void): Promise<void> {
  await settleAll([
    installJava('Apache Kafka', JARS.kafka, note),
    installJava('S3Proxy', JARS.s3proxy, note),
    fetchAsset(CLIPS, note),
    buildModel(note),
  ]);
}

/** Builds the default model unless it is there. A process of its own gives its memory back. @throws StartError */
export async function buildModel(note: (line: string) => void): Promise<void> {
  if (existsSync(defaultModelPath())) return;
  const building = promisify(execFile)(process.execPath, [join(ROOT, 'model/src/nanodet/build.ts')]);
  process.once('exit', () => building.child.kill());
  building.child.stderr?.on('data', (text) => note(String(text).trim()));
  try {
    await building;
  } catch (cause) {
    const output = (cause as { stderr?: string }).stderr ?? '';
    throw new StartError(`the default model can't be built: ${errorIn(output.split('\n'))}`, { cause });
  }
}
