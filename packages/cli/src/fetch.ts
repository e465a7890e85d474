import { cacheDir } from '@video-pipeline/assets';
import { prepare } from '@video-pipeline/local';
import { Command } from 'commander';

export function fetchCommand(): Command {
  return new Command('fetch')
    .description("fetch and build all that 'npm start' needs, so that it runs without a network")
    .addHelpText(
      'after',
      `
Everything is kept in the folder that VIDEO_PIPELINE_CACHE names, or in .cache. Mirrors, proxies, credentials and
certificates are those of npm (.npmrc), pip (pip.conf, for the Java runtime) and Maven (~/.m2/settings.xml, for jars).`,
    )
    .action(async () => {
      await prepare(console.error);
      console.log(`everything is in ${cacheDir()}`);
    });
}
