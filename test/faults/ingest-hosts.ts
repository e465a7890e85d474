import { appendFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startCameras } from '@video-pipeline/camera';
import { decodeFrame } from '@video-pipeline/frame';
import type { Kafka } from '@video-pipeline/kafka';
import { audit, readTopic } from '@video-pipeline/recovery';
import type { Bucket } from '@video-pipeline/storage';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { startChild } from '../../packages/local/src/supervisor/child.ts';
import { readCounts } from '../../packages/recovery/src/ingest-counts.ts';
import { evenTimes, makeVideo } from '../support/video.ts';
import { Service } from './service.ts';

const MAIN = resolve(import.meta.dirname, '../../ingest-host/src/main.ts');
const HOSTS = ['ingest-1', 'ingest-2'];
/** Read by both hosts. Each host numbers the frames of its own session. */
const STREAMS = ['yard', 'door'];

/** A camera, and two ingest hosts that both read each of its streams, as when one replaces another. */
export async function startIngestHosts(folder: string, topic: string, environment: NodeJS.ProcessEnv) {
  Log.setLevel(AV_LOG_QUIET);
  const video = { width: 128, height: 96, times: evenTimes(50, 10), gop: 10 };
  const clip = await makeVideo(join(folder, 'camera.mp4'), video);
  const camera = await startCameras({ clips: Object.fromEntries(STREAMS.map((id) => [id, clip])) });
  const env = {
    ...environment,
    KAFKA_TOPIC: topic,
    STREAMS: JSON.stringify(STREAMS.map((id) => ({ id, url: `${camera.url}/${id}` }))),
    FRAME_RATE: '2',
    HEALTH_PORT: '0',
  };
  const countsOf = (name: string) => join(folder, `${name}.counts`);
  const hosts = HOSTS.map((name) => {
    appendFileSync(countsOf(name), '');
    return new Service((stop) =>
      startChild({
        name,
        stop,
        script: MAIN,
        env,
        pidFile: join(folder, 'run', `${name}.pid`),
        logFile: join(folder, 'logs', `${name}.log`),
        onLine: (line) => {
          if (line.includes('FramesPublished')) appendFileSync(countsOf(name), `${line}\n`);
        },
      }),
    );
  });
  await Promise.all(hosts.map((host) => host.start()));
  const end = async () => {
    await Promise.all(hosts.map((host) => host.stop()));
    await camera.close();
  };
  let ended: Promise<void> | undefined;
  return {
    hosts,
    /** @returns the numbers of frames that they counted as published, by `stream/session` */
    async stop(): Promise<Map<string, number>> {
      ended ??= end();
      await ended;
      return readCounts(HOSTS.map(countsOf));
    },
  };
}

/**
 * Compares the counts of published frames with the records in Kafka.
 * @returns sessions that lack frames, frames after later ones of their session and partition, and the number of duplicates
 */
export async function accountForIngest(
  { kafka, bucket }: { kafka: Kafka; bucket: Bucket },
  framesTopic: string,
  counted: ReadonlyMap<string, number>,
): Promise<{ wrong: string[]; frames: number; twice: number }> {
  // No stage reads these frames: only frames lost before Kafka count.
  const config = { KAFKA_TOPIC: framesTopic, KAFKA_DETECTIONS_TOPIC: 'none', S3_PREFIX: 'none' };
  const report = await audit({ kafka, bucket, config, pixels: false, counted });
  const wrong = [...(report.lostBeforeKafka ?? ['the auditor compared nothing'])];
  const seen = new Set<string>();
  const newest = new Map<string, number>();
  let twice = 0;
  await readTopic(kafka, framesTopic, (record) => {
    const { streamId, session, frameNumber } = decodeFrame(record);
    const name = `${streamId}/${session}`;
    const place = `${name} on ${record.partition}`;
    if (seen.has(`${name}/${frameNumber}`)) twice++;
    else if (frameNumber < (newest.get(place) ?? -1)) wrong.push(`${name}/${frameNumber} is late`);
    seen.add(`${name}/${frameNumber}`);
    newest.set(place, Math.max(newest.get(place) ?? -1, frameNumber));
  });
  return { wrong, frames: seen.size, twice };
}
