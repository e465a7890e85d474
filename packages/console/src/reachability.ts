import type { Logger } from '@video-pipeline/telemetry';
import type { DependencyHealth } from './api.ts';

/** A failure alone may be a leader that moved; so many in a row are an outage. */
const OUTAGE_FAILURES = 2;

/** One line of an error, what S3 itself does not explain included. */
export function messageOf(error: Error): string {
  const { $metadata, message, name } = error as Error & { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (name === 'TimeoutError') return 'it has not answered in time';
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${message}${cause}${status ? ` (${status})` : ''}`.replaceAll(/\s+/g, ' ');
}

/** Whether something can be reached, by the outcome of what was last asked of it. Logs an outage once, and its end. */
export class Reachability {
  readonly #name: string;
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  #failures = 0;
  #health: DependencyHealth = { ok: true, since: Date.now() };

  constructor(name: string, log: Pick<Logger, 'info' | 'warn'>) {
    this.#name = name;
    this.#log = log;
  }

  get health(): DependencyHealth {
    return this.#health;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#health.ok) return;
    this.#log.info(`${this.#name} is reached again`);
    this.#health = { ok: true, since: Date.now() };
  }

  failed(error: Error): void {
    this.#failures += 1;
    if (this.#failures < OUTAGE_FAILURES) return;
    if (this.#health.ok) this.#log.warn(`${this.#name} can't be reached: ${messageOf(error)}`);
    const since = this.#health.ok ? Date.now() : this.#health.since;
    this.#health = { ok: false, since, error: messageOf(error) };
  }
}
