import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '@video-pipeline/config';
import { type Admin, consumerLag, type Kafka } from '@video-pipeline/kafka';
import { frameStagesOf, groupOf, type STAGE_VARIABLES, topicOf } from '@video-pipeline/stages';
import type { StreamContext } from './ingest-stream.ts';
import { pipelineDelay } from './pipeline-delay.ts';
import { type Thinning, windowOf } from './thinning.ts';

const LOOK_MS = 1_000;
/** Least time between two log lines about thinning, milliseconds. */
const LOG_INTERVAL_MS = 60_000;

type WatchConfig = Config<(typeof STAGE_VARIABLES)[number] | 'MAX_LATENCY_SECONDS'>;
type Log = StreamContext['log'];

/**
 * Updates `thinning` once a second from the lag of the stages' consumer groups, until `signal` aborts. While Kafka does
 * not answer, the rates of the streams stay unchanged.
 */
export async function watchPipeline(
  kafka: Kafka,
  thinning: Thinning,
  { config, log, signal }: { config: WatchConfig; log: Log; signal: AbortSignal },
): Promise<void> {
  const delayOf = pipelineDelay(windowOf({ maxLatencySeconds: config.MAX_LATENCY_SECONDS }));
  const admin = kafka.admin();
  const logChange = thinningLogger(thinning, log);
  for (let isKnown = true; !signal.aborted; await delay(LOOK_MS, undefined, { signal }).catch(() => {})) {
    try {
      await admin.connect();
      // Not the time of day, which may be set back.
      const at = performance.now();
      thinning.update(delayOf(await readLags(admin, config), at));
      logChange(at);
      isKnown = true;
    } catch (error) {
      if (isKnown && !signal.aborted)
        log.warn("can't read the lag of the pipeline: streams keep their rates", {
          error: (error as Error).message,
        });
      isKnown = false;
    }
  }
  await admin.disconnect().catch(() => {});
}

async function readLags(admin: Admin, config: WatchConfig) {
  const lags = frameStagesOf(config).map(
    async (stage) =>
      [stage.name, await consumerLag(admin, groupOf(stage, config), topicOf(stage, config))] as const,
  );
  return new Map(await Promise.all(lags));
}

/** Logs begin and end of thinning, at most once a minute. The first minute is not logged: all streams start thinned. */
function thinningLogger(thinning: Thinning, log: Log): (at: number) => void {
  let logged = false;
  let loggedAt = performance.now();
  return (at) => {
    if (thinning.isThinning === logged || at - loggedAt < LOG_INTERVAL_MS) return;
    logged = thinning.isThinning;
    loggedAt = at;
    const extra = { pipelineDelaySeconds: Math.round(10 * thinning.delaySeconds) / 10 };
    if (logged) log.warn('the pipeline is slower than the cameras: streams are thinned', extra);
    else log.info('the pipeline keeps up again: streams are not thinned any more', extra);
  };
}
