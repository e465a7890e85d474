import { expectLargeBuffers, runCommand } from '@video-pipeline/lifecycle';
import { parseTime } from '@video-pipeline/lifecycle/parse-time';
import { Command, Option } from 'commander';
import { type AuditReport, audit, isClean } from './audit.ts';
import { connectEnvironment, TARGET_HELP } from './connect.ts';
import { readCounts } from './ingest-counts.ts';

/** Frames shown of each list on a terminal; `--json` shows all. */
const SHOWN = 10;

expectLargeBuffers();
const command = new Command('npm run audit --')
  .description(
    'check that every frame in Kafka is annotated in S3, in failed/, or still on its way; exit code 1 when one is missing, or an object is foreign',
  )
  .addOption(
    new Option('--from <time>', 'only frames that were written to Kafka at this time or later, ISO 8601')
      .argParser(parseTime)
      .conflicts('ingestLog'),
  )
  .option('--pixels', 'also compare every stored picture with its frame', false)
  .option(
    '--ingest-log <file>',
    'what an ingest host wrote to stdout: also compare what it counted as published; repeatable',
    (file: string, before: string[] = []) => [...before, file],
  )
  .option('--json', 'print the whole report as one JSON object', false)
  .addHelpText('after', TARGET_HELP)
  .action(async ({ from, pixels, json, ingestLog }) => {
    const counted = ingestLog && (await readCounts(ingestLog));
    const { config, bucket, kafka } = await connectEnvironment('audit', ['bucket', 'kafka']);
    const report = await audit({ kafka, bucket, config, pixels, counted, from: from?.getTime() ?? 0 });
    bucket.close();
    console.log(json ? JSON.stringify(report) : describe(report));
    process.exitCode = isClean(report) && report.unreadable.length === 0 ? 0 : 1;
  });

await runCommand(command.parseAsync());

function describe(report: AuditReport): string {
  const kept = report.notKept > 0 ? `${report.notKept} with their detections alone, ` : '';
  const lines = [
    `${report.published} frames in Kafka: ${report.annotated} annotated, ${kept}${report.failed} in failed/, ` +
      `${report.onItsWay} on their way, ${report.missing.length} lost`,
  ];
  const failed = Object.entries(report.failedRecords).filter(([, count]) => count > 0);
  if (failed.length > 0) {
    lines.push(`records in failed/: ${failed.map(([name, count]) => `${name} ${count}`).join(', ')}`);
  }
  for (const [name, list] of Object.entries(report)) {
    if (!Array.isArray(list) || list.length === 0) continue;
    const more = list.length > SHOWN ? ` and ${list.length - SHOWN} more` : '';
    lines.push(`${list.length} ${name}: ${list.slice(0, SHOWN).join(', ')}${more}`);
  }
  const foreign = report.unreadable.length > 0 ? ', but not every object could be read' : '';
  lines.push(`${isClean(report) ? 'every' : 'NOT every'} frame is accounted for${foreign}`);
  return lines.join('\n');
}
