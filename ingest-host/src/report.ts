import { emitMetrics } from '@video-pipeline/telemetry';
import type { StreamStats } from './stats.ts';

const COUNTS = [
  ['FramesCaptured', 'captured'],
  ['FramesPublished', 'published'],
  ['FramesDropped', 'dropped'],
  ['FramesStill', 'still'],
  ['FramesThinned', 'thinned'],
  ['Reconnects', 'reconnects'],
] as const;

/**
 * Emits the changes since the last call as metrics. A stream without changes is left out.
 * @param session id of the run
 */
export function metricsReporter(stats: ReadonlyMap<string, StreamStats>, session?: string): () => void {
  const reported = new Map<string, StreamStats>();
  return () => {
    for (const [stream, now] of stats) {
      const before = reported.get(stream);
      const changes = COUNTS.map(([metric, count]) => [metric, now[count] - (before?.[count] ?? 0)] as const);
      reported.set(stream, { ...now });
      if (changes.some(([, change]) => change > 0))
        emitMetrics('ingest', stream, Object.fromEntries(changes), session);
    }
  };
}
