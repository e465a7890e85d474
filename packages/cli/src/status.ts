import { readConfig, urlBelow } from '@video-pipeline/config';
import type { State } from '@video-pipeline/local';
import { aligned, signalProcess } from '@video-pipeline/local/lightweight';
import { lagLine, tableLines, timeOfDay } from '@video-pipeline/local/screen';
import {
  checkHttp,
  checkOnce,
  getHttp,
  isBadResponse,
  type PartHealth,
  type Probe,
} from '@video-pipeline/telemetry';
import type { Command } from 'commander';
import { openS3, requireState, serverOf, type Target } from './running.ts';
import { targetCommand } from './stage.ts';

/** A supervisor that has written no state for this long hangs. */
const FRESH_MS = 10_000;
const TIMEOUT_MS = 3_000;
/** Longer, since the answer comes through a tunnel, with TLS and a login. */
const STAGE_TIMEOUT_MS = 10_000;
const ENV_HINT = `for the AWS CLI, boto3 and other tools: eval "$(npm run local -s -- env)"`;

interface ServiceHealth {
  state: string;
  healthy: boolean;
  pid: number | null;
  restarts: number;
}

/** A report: whether all is well, the facts that `--json` prints, and the lines for a person. */
interface Report {
  healthy: boolean;
  facts: object;
  lines: string[];
}

export function statusCommand(): Command {
  return targetCommand(
    'status',
    'print the health of each service and the counts of each stream (with --stage: which servers answer, and the lag); ' +
      'exit code 1 when something is unhealthy, or not reachable from here',
  ).action(async ({ json, ...target }: Target) => {
    const { healthy, facts, lines } = target.stage
      ? await reportOfStage(target)
      : await reportOfStack(await requireState(target.dataDir));
    console.log(json ? JSON.stringify({ healthy, ...facts }) : lines.join('\n'));
    process.exitCode = healthy ? 0 : 1;
  });
}

async function reportOfStack(state: State): Promise<Report> {
  const services = servicesOf(state);
  const cameras = await camerasOf(state);
  const failing = Object.entries(cameras).filter(([, { error }]) => error !== undefined);
  const { streams, lag, endpoints, latency_ms, health } = state;
  const isFresh = Date.now() - state.updated_at < FRESH_MS;
  const healthy =
    isFresh &&
    failing.length === 0 &&
    Object.values(health).every(({ ok }) => ok !== false) &&
    Object.values(services).every((service) => service.healthy);
  const rows = Object.entries(services).map(([name, { state, healthy, pid, restarts }]) => [
    name,
    healthy ? state : `${state}, UNHEALTHY`,
    String(pid ?? '-'),
    String(restarts),
  ]);
  return {
    healthy,
    facts: { health, services, cameras, streams, lag, latency_ms, endpoints },
    lines: [
      ...(isFresh ? [] : [`The supervisor has been silent since ${timeOfDay(state.updated_at)}: it hangs.`]),
      ...aligned([['service', 'state', 'process', 'restarts'], ...rows]),
      '',
      ...Object.entries(health).map(([name, part]) => `${name.padEnd(10)}${inWords(part)}`),
      '',
      ...tableLines(state, (_, text) => text),
      ENV_HINT,
      ...failing.map(([id, { error }]) => `camera ${id} FAILS: ${error}; it is tried again`),
      ...Object.entries(cameras).flatMap(([id, { fallback }]) =>
        fallback ? [`camera ${id}: its URL gives no picture, fallback ${fallback} is read`] : [],
      ),
    ],
  };
}

/** `answers since 09:12:33; before it did not for 14 s: it has not answered in time` */
function inWords({ ok, since, error, before }: PartHealth): string {
  const when = timeOfDay(since);
  if (ok === false) return `DOES NOT ANSWER since ${when}: ${error}`;
  if (ok === null) return `not known: ${error}`;
  const lasted = before ? Math.ceil((since - before.since) / 1000) : 0;
  return `answers since ${when}${before ? `; before, it did not for ${lasted} s: ${before.error}` : ''}`;
}

interface CameraState {
  state: string;
  error?: string;
  /** Which of its fallback URLs is read, from 1. */
  fallback?: number;
}

type Reported = Omit<CameraState, 'error'> & { lastError?: string };

/** State of each camera, as ingest reports it. Empty when ingest does not answer: its service is unhealthy then. */
async function camerasOf({ services, endpoints }: State): Promise<Record<string, CameraState>> {
  if (services.ingest?.state !== 'running') return {};
  try {
    const { text } = await getHttp(new URL('/health', endpoints.health), TIMEOUT_MS);
    const { streams } = JSON.parse(text) as { streams: Record<string, Reported> };
    const states = Object.entries(streams).map(([id, { state, lastError, fallback }]) => {
      const error = lastError && state !== 'flowing' ? { error: lastError } : {};
      return [id, { state, ...error, ...(fallback ? { fallback } : {}) }] as const;
    });
    return Object.fromEntries(states);
  } catch {
    return {};
  }
}

/** Names of parts that differ from the names of their services. */
const PART_OF: Record<string, string> = { s3proxy: 's3' };

function servicesOf({ services, health }: State): Record<string, ServiceHealth> {
  const entries = Object.entries(services).map(([name, { state, pid, restarts }]) => {
    const part = health[PART_OF[name] ?? name];
    // The supervisor may not have noticed yet that a process has just ended.
    const isRunning = state === 'running' && pid !== undefined && signalProcess(pid, 0);
    const healthy = state === 'finished' || (isRunning && part?.ok !== false);
    return [name, { state, healthy, pid: pid ?? null, restarts }] as const;
  });
  return Object.fromEntries(entries);
}

async function reportOfStage(target: Target): Promise<Report> {
  const kafka = await serverOf('kafka', target);
  const { S3_BUCKET, INFERENCE_SERVICE_URL } = readConfig(['S3_BUCKET', 'INFERENCE_SERVICE_URL']);
  // Loaded only here: Kafka's client and the AWS SDK are two thirds of the modules.
  const { HeadBucketCommand } = await import('@aws-sdk/client-s3');
  const { Backlog } = await import('@video-pipeline/local');
  const backlog = new Backlog(kafka);
  const s3 = await openS3(target);
  let lag: Record<string, number> | null = null;
  const probes: Record<string, Probe> = {
    kafka: async () => {
      lag = await backlog.lag();
      return undefined;
    },
    s3: async () => {
      await s3.send(new HeadBucketCommand({ Bucket: S3_BUCKET }));
      return undefined;
    },
  };
  if (process.env.INFERENCE_SERVICE_URL)
    probes.inference = () => checkHttp(urlBelow(INFERENCE_SERVICE_URL, 'health'));
  for (const stage of backlog.frameStages) probes[stage.name] = () => backlog.askReader(stage);
  const health = await checkOnce(probes, STAGE_TIMEOUT_MS);
  await backlog.close();
  const where: Record<string, string> = { kafka, s3: S3_BUCKET, inference: INFERENCE_SERVICE_URL };
  // Only the VPC reaches them. Without an answer, nobody can say from here whether they work.
  const remedies: Record<string, string> = {
    kafka: `is 'npx sst tunnel --stage ${target.stage}' running? (docs/runbooks.md)`,
    inference: 'INFERENCE_SERVICE_URL may name a forwarded port (docs/operate.md)',
  };
  const services = Object.entries(health).map(([name, { ok, error }]) => {
    const remedy = ok === false && !isBadResponse(error ?? '') ? remedies[name] : undefined;
    const known = ok === null ? 'not known' : ok ? 'answers' : 'UNHEALTHY';
    const state = remedy ? 'not reachable from here' : known;
    const note = error && { error: remedy ? `${error}; ${remedy}` : error };
    return { name, state, at: where[name] ?? `consumer of ${kafka}`, healthy: remedy ? null : ok, ...note };
  });
  const rows = services.map(({ name, state, at }) => [name, state, at]);
  return {
    healthy: Object.values(health).every(({ ok }) => ok !== false),
    facts: { services: Object.fromEntries(services.map(({ name, ...facts }) => [name, facts])), lag },
    lines: [
      ...aligned([['service', 'state', 'where'], ...rows]),
      ...services.flatMap(({ name, error }) => (error ? [`${name}: ${error}`] : [])),
      ...(lag ? [lagLine(lag)] : []),
    ],
  };
}
