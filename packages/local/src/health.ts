import { urlBelow } from '@video-pipeline/config';
import { STAGES } from '@video-pipeline/stages';
import { checkHttp, type Probe } from '@video-pipeline/telemetry';
import type { Stack } from './stack.ts';

/**
 * The probe of each part of a stack on this machine, by the part's name.
 * @param onLag receives the lag of each stage that frames pass through, in records
 */
export function stackProbes(
  { endpoints, backlog, services }: Stack,
  onLag: (lag: Record<string, number>) => void,
): Record<string, Probe> {
  const { s3, inference, health, console: page } = endpoints;
  /** The probe of a service. While the service does not run, its state is the answer. */
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
    // S3Proxy refuses a request without a signature. That counts as an answer.
    s3: () => checkHttp(s3),
    model: () => checkHttp(urlBelow(inference, 'health')),
    // 503 while no camera sends: the status shows that for each camera.
    ingest: ofService('ingest', () => checkHttp(new URL('/health', health), (status) => status <= 503)),
    ...Object.fromEntries(
      stages.map((stage) => [stage.name, ofService(stage.name, () => backlog.askReader(stage))]),
    ),
    ...(page ? { console: ofService('console', () => checkHttp(new URL('/health', page))) } : {}),
  };
}
