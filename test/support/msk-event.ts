import { type MSKEvent, type MSKRecord, toLambdaRecord } from '@video-pipeline/frame';

/**
 * Records as MSK's mapping delivers them, partition by partition.
 * @param options.offset of the first record of each partition
 */
export function mskEvent(
  topic: string,
  partitions: readonly (readonly Parameters<typeof toLambdaRecord>[1][])[],
  { offset = 0, timestamp = 0 } = {},
): MSKEvent {
  const records: Record<string, MSKRecord[]> = {};
  for (const [partition, list] of partitions.entries()) {
    records[`${topic}-${partition}`] = list.map((record, index) =>
      toLambdaRecord({ topic, partition, offset: String(offset + index), timestamp }, record),
    );
  }
  return { eventSource: 'aws:kafka', eventSourceArn: 'arn', bootstrapServers: 'b:1', records };
}

/** The context of an invocation with nearly a minute left. The time has fractions, as in the poller. */
export const A_MINUTE = { getRemainingTimeInMillis: () => 59_999.5 };
