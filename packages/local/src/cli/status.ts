import { Command } from 'commander';
import { answers } from '../kafka.ts';
import { aligned, tableLines } from '../screen.ts';
import type { State } from '../session.ts';
import { dataDirOption, requireState } from './running.ts';

/** A supervisor that has told nothing for so long has hung. */
const FRESH_MS = 10_000;
const ANSWER_MS = 3_000;

interface ServiceHealth {
  state: string;
  healthy: boolean;
  pid: number | null;
  restarts: number;
}

export function statusCommand(): Command {
  return new Command('status')
    .description('health of each service, and counts of each stream; exit code 1 when something is unhealthy')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async ({ dataDir, json }: { dataDir: string; json?: boolean }) => {
      const state = await requireState(dataDir);
      const services = await healthOf(state);
      const healthy =
        Date.now() - state.updated_at < FRESH_MS &&
        Object.values(services).every((service) => service.healthy);
      const { streams, lag, endpoints, latency_ms } = state;
      if (json) console.log(JSON.stringify({ healthy, services, streams, lag, latency_ms, endpoints }));
      else console.log(describe(state, services));
      process.exitCode = healthy ? 0 : 1;
    });
}

async function healthOf({ services, endpoints }: State): Promise<Record<string, ServiceHealth>> {
  const probes: Record<string, () => Promise<boolean>> = {
    kafka: () => answers(endpoints.kafka),
    s3proxy: () => answersHttp(endpoints.s3),
    model: () => answersHttp(new URL('/health', endpoints.inference)),
    ingest: () => answersHttp(new URL('/health', endpoints.health)),
    console: () => answersHttp(new URL('/health', endpoints.console)),
  };
  const entries = Object.entries(services).map(async ([name, { state, pid, restarts }]) => {
    const probe = state === 'running' ? probes[name] : undefined;
    const healthy = state === 'finished' || (state === 'running' && (await (probe?.() ?? true)));
    return [name, { state, healthy, pid: pid ?? null, restarts }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function answersHttp(url: string | URL): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) })).ok;
  } catch {
    return false;
  }
}

function describe(state: State, services: Record<string, ServiceHealth>): string {
  const rows = Object.entries(services).map(([name, { state, healthy, pid, restarts }]) => [
    name,
    healthy ? state : `${state}, UNHEALTHY`,
    String(pid ?? '-'),
    String(restarts),
  ]);
  const table = aligned([['service', 'state', 'process', 'restarts'], ...rows]);
  return [...table, '', ...tableLines(state, (_, text) => text)].join('\n');
}
