import { STAGES } from '@video-pipeline/stages';
import { askHttp, type Probe } from '@video-pipeline/telemetry';
import type { Stack } from './stack.ts';

/**
 * What to ask each part of a stack on this machine, by the part's name.
 * @param onLag takes how many records each stage of frames has yet to finish
 */
export function stackProbes(
  { endpoints, backlog, services }: Stack,
  onLag: (lag: Record<string, number>) => void,
): Record<string, Probe> {
  const { s3, inference, health, console: page } = endpoints;
  /** Of a process of ours: as long as none runs, why. */
  const ofService = (name: string, probe: Probe) => async () => {
    const state = services.find((service) => service.name === name)?.state;
    if (state === 'restarting') throw new Error('it has ended, and is started again');
    return state === 'running' ? probe() : (state ?? 'not started');
  };
  const stages = STAGES.filter(({ name }) => services.some((service) => service.name === name));
  return {
    kafka: async () => {
      onLag(await backlog.lag());
      return undefined;
    },
    // Unsigned, it is refused: that is an answer.
    s3: () => askHttp(s3),
    model: () => askHttp(new URL('/health', inference)),
    // 503 while no camera sends: that is told by camera.
    ingest: ofService('ingest', () => askHttp(new URL('/health', health), (status) => status <= 503)),
    ...Object.fromEntries(
      stages.map((stage) => [stage.name, ofService(stage.name, () => backlog.askReader(stage))]),
    ),
    ...(page ? { console: ofService('console', () => askHttp(new URL('/health', page))) } : {}),
  };
}
