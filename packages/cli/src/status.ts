import { HeadBucketCommand } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { aligned, answers, Backlog, lagLine, type State, tableLines } from '@video-pipeline/local';
import { Command } from 'commander';
import { dataDirOption, openS3, requireState, serverOf, type Target } from './running.ts';
import { stageOption } from './stage.ts';

/** A supervisor that has told nothing for so long has hung. */
const FRESH_MS = 10_000;
const ANSWER_MS = 3_000;
const ENV_HINT = `for the AWS CLI, boto3 and other tools: eval "$(npm run local -s -- env)"`;

interface ServiceHealth {
  state: string;
  healthy: boolean;
  pid: number | null;
  restarts: number;
}

/** Whether all is well, what `--json` prints of it, and the same for a person. */
interface Report {
  healthy: boolean;
  facts: object;
  lines: string[];
}

export function statusCommand(): Command {
  return new Command('status')
    .description(
      'health of each service, and counts of each stream (of a stage: what answers, and the lag); ' +
        'exit code 1 when something is unhealthy',
    )
    .addOption(dataDirOption())
    .addOption(stageOption())
    .option('--json', 'print one JSON object')
    .action(async ({ json, ...target }: Target & { json?: boolean }) => {
      const { healthy, facts, lines } = target.stage
        ? await reportOfStage(target)
        : await reportOfStack(await requireState(target.dataDir));
      console.log(json ? JSON.stringify({ healthy, ...facts }) : lines.join('\n'));
      process.exitCode = healthy ? 0 : 1;
    });
}

async function reportOfStack(state: State): Promise<Report> {
  const [services, cameras] = await Promise.all([healthOf(state), camerasOf(state)]);
  const failing = Object.entries(cameras).filter(([, { error }]) => error !== undefined);
  const healthy =
    Date.now() - state.updated_at < FRESH_MS &&
    failing.length === 0 &&
    Object.values(services).every((service) => service.healthy);
  const { streams, lag, endpoints, latency_ms } = state;
  const rows = Object.entries(services).map(([name, { state, healthy, pid, restarts }]) => [
    name,
    healthy ? state : `${state}, UNHEALTHY`,
    String(pid ?? '-'),
    String(restarts),
  ]);
  const table = aligned([['service', 'state', 'process', 'restarts'], ...rows]);
  return {
    healthy,
    facts: { services, cameras, streams, lag, latency_ms, endpoints },
    lines: [
      ...table,
      '',
      ...tableLines(state, (_, text) => text),
      ENV_HINT,
      ...failing.map(([id, { error }]) => `camera ${id} FAILS: ${error}; it is tried again`),
    ],
  };
}

interface CameraState {
  /** As ingest has it. */
  state: string;
  /** Why it does not send. */
  error?: string;
}

/** How the cameras are, as ingest says; nothing when it does not answer, which its service's health tells. */
async function camerasOf({ services, endpoints }: State): Promise<Record<string, CameraState>> {
  if (services.ingest?.state !== 'running') return {};
  try {
    const answer = await fetch(new URL('/health', endpoints.health), {
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const { streams } = (await answer.json()) as {
      streams: Record<string, { state: string; lastError?: string }>;
    };
    return Object.fromEntries(
      Object.entries(streams).map(([id, { state, lastError }]) => [
        id,
        { state, ...(lastError && state !== 'flowing' ? { error: lastError } : {}) },
      ]),
    );
  } catch {
    return {};
  }
}

async function healthOf({ services, endpoints }: State): Promise<Record<string, ServiceHealth>> {
  const probes: Record<string, () => Promise<boolean>> = {
    kafka: () => answers(endpoints.kafka),
    // Unsigned, it is refused: that is an answer.
    s3proxy: () => answersHttp(endpoints.s3, 403),
    model: () => answersHttp(new URL('/health', endpoints.inference)),
    // 503 while no camera sends: that is told by camera.
    ingest: () => answersHttp(new URL('/health', endpoints.health), 503),
    console: () => answersHttp(new URL('/health', endpoints.console)),
  };
  const entries = Object.entries(services).map(async ([name, { state, pid, restarts }]) => {
    const probe = state === 'running' ? probes[name] : undefined;
    const healthy = state === 'finished' || (state === 'running' && (await (probe?.() ?? true)));
    return [name, { state, healthy, pid: pid ?? null, restarts }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function answersHttp(url: string | URL, other?: number): Promise<boolean> {
  try {
    const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    return ok || status === other;
  } catch {
    return false;
  }
}

async function reportOfStage(target: Target): Promise<Report> {
  const kafka = await serverOf('kafka', target);
  const { S3_BUCKET, INFERENCE_SERVICE_URL } = readConfig(['S3_BUCKET', 'INFERENCE_SERVICE_URL']);
  const backlog = new Backlog(kafka);
  const lag = await backlog.lag().catch(() => null);
  await backlog.close();
  const s3 = await openS3(target);
  const services: Record<string, { at: string; healthy: boolean }> = {
    kafka: { at: kafka, healthy: lag !== null },
    s3: { at: S3_BUCKET, healthy: await isFulfilled(s3.send(new HeadBucketCommand({ Bucket: S3_BUCKET }))) },
  };
  if (process.env.INFERENCE_SERVICE_URL) {
    const healthy = await answersHttp(new URL('/health', INFERENCE_SERVICE_URL));
    services.inference = { at: INFERENCE_SERVICE_URL, healthy };
  }
  const rows = Object.entries(services).map(([name, { at, healthy }]) => [
    name,
    healthy ? 'answers' : 'UNHEALTHY',
    at,
  ]);
  return {
    healthy: Object.values(services).every(({ healthy }) => healthy),
    facts: { services, lag },
    lines: [
      ...aligned([['service', 'state', 'where'], ...rows]),
      lag ? lagLine(lag) : `Kafka does not answer: is 'npx sst tunnel --stage ${target.stage}' running?`,
    ],
  };
}

async function isFulfilled(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}
