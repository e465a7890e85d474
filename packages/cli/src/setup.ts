import { copyFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CLIPS, fetchAsset, makeFolder } from '@video-pipeline/assets';
import { readConfig } from '@video-pipeline/config';
import { Backlog, DIRECTORY, ensureBucket } from '@video-pipeline/local';
import type { Command } from 'commander';
import { openS3, serverOf, stackCommand, type Target } from './running.ts';

export function setupCommand(): Command {
  return stackCommand(
    'setup',
    'create the topics and the bucket if they are missing, as docker-compose.yaml does first',
  )
    .option('--clips <folder>', 'also put the demo clips there')
    .action(async ({ clips, json, ...target }: Target & { clips?: string }) => {
      const { S3_BUCKET } = readConfig(['S3_BUCKET']);
      const backlog = new Backlog(await serverOf('kafka', target));
      await backlog.createTopics();
      await backlog.close();
      await ensureBucket(await openS3(target), S3_BUCKET);
      const files = clips ? await copyClips(resolve(DIRECTORY, clips)) : [];
      const { topics } = backlog;
      const made = { topics, bucket: S3_BUCKET, clips: files };
      console.log(json ? JSON.stringify(made) : ['ready:', ...topics, S3_BUCKET, ...files].join(' '));
    });
}

async function copyClips(folder: string): Promise<string[]> {
  await makeFolder(folder);
  return Promise.all(
    (await fetchAsset(CLIPS, console.error)).map(async (clip) => {
      const file = join(folder, basename(clip));
      await copyFile(clip, file);
      return file;
    }),
  );
}
