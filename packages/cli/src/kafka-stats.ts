import { setTimeout as sleep } from 'node:timers/promises';
import { aligned, Backlog, type PartitionLag } from '@video-pipeline/local';
import type { PipelineStage } from '@video-pipeline/stages';
import type { Command } from 'commander';
import { answerOf, serverOf, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

interface TopicStats {
  topic: string;
  group: string;
  partitions: PartitionLag[];
  /** End offsets of all partitions together. */
  end: number;
  lag: number;
  published_per_second: number;
  consumed_per_second: number;
}

const INTERVAL_MS = 2_000;

export function kafkaStatsCommand(): Command {
  return targetCommand(
    'kafka-stats',
    'print topics, partitions, offsets, the lag of each consumer group, and rates over two seconds',
  ).action(async ({ json, ...target }: Target) => {
    const kafka = await serverOf('kafka', target);
    const backlog = new Backlog(kafka);
    const stats = backlog
      .stages()
      .then((stages) => Promise.all(stages.map((stage) => statsOf(backlog, stage))));
    const hint = target.stage ? ` (is 'npx sst tunnel --stage ${target.stage}' running?)` : '';
    const topics = await answerOf(`Kafka at ${kafka}${hint}`, stats).finally(() => backlog.close());
    console.log(json ? JSON.stringify({ topics }) : topics.flatMap(describe).join('\n'));
  });
}

async function statsOf(backlog: Backlog, stage: PipelineStage): Promise<TopicStats> {
  const began = performance.now();
  const before = await backlog.partitions(stage);
  await sleep(INTERVAL_MS);
  const partitions = (await backlog.partitions(stage)).sort((a, b) => a.partition - b.partition);
  const seconds = (performance.now() - began) / 1000;
  const total = (list: PartitionLag[], field: 'end' | 'committed' | 'lag') =>
    list.reduce((sum, partition) => sum + partition[field], 0);
  const rate = (field: 'end' | 'committed') =>
    Math.round(((total(partitions, field) - total(before, field)) / seconds) * 10) / 10;
  return {
    ...backlog.consumer(stage),
    partitions,
    end: total(partitions, 'end'),
    lag: total(partitions, 'lag'),
    published_per_second: rate('end'),
    consumed_per_second: rate('committed'),
  };
}

function describe(stats: TopicStats): string[] {
  const rows = stats.partitions.map((one) => [one.partition, one.committed, one.end, one.lag].map(String));
  return [
    `${stats.topic}: ${stats.end} records, ${stats.published_per_second} a second; group ${stats.group}: ` +
      `lag ${stats.lag}, ${stats.consumed_per_second} a second`,
    ...aligned([['partition', 'committed', 'end', 'lag'], ...rows]),
    '',
  ];
}
