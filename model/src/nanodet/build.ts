import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { defaultModelPath, fetchAsset, NANODET, writeWhole } from '@video-pipeline/assets';
import { exitWithError } from '@video-pipeline/lifecycle';
import { Command } from 'commander';

/**
 * Builds the default model unless `output` exists; with `force` always.
 * @throws AssetError when its source can't be fetched, Error when it can't be converted
 */
export async function buildNanodet(
  note: (line: string) => void,
  output = defaultModelPath(),
  force = false,
): Promise<void> {
  if (existsSync(output) && !force) return;
  const [graph = '', weights = ''] = await fetchAsset(NANODET, note);
  note(`building ${output}`);
  const { convertNanodet } = await import('./convert.ts');
  const model = convertNanodet(JSON.parse(await readFile(graph, 'utf8')), await readFile(weights));
  await writeWhole(output, (partial) => writeFile(partial, model));
}

if (import.meta.main) {
  await new Command('npm run model:build --')
    .description('build the default model, NanoDet-g (COCO, 80 classes), as an ONNX file')
    .option('--output <file>', 'where to write it', defaultModelPath())
    .option('--force', 'build it even if it is there')
    .action((options) => buildNanodet(console.error, options.output, options.force))
    .parseAsync()
    .catch(exitWithError);
}
