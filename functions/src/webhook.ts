import { createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchOnce, OutboundError } from '@video-pipeline/outbound';
import type { SceneEvent } from '@video-pipeline/scene';

interface WebhookSettings {
  url: string;
  /** `whsec_` and the key in base64. Without it requests are not signed. */
  secret: string | undefined;
  /** Most attempts to post an event. */
  attempts: number;
  /** First wait between attempts, milliseconds; each further one is twice as long. */
  firstWaitMs?: number;
}

/**
 * Delivers an event.
 * @param ending ends the attempts
 * @returns undefined once the receiver has accepted it, or the reason why no more attempts are made
 */
export type Receiver = (event: SceneEvent, ending: AbortSignal) => Promise<string | undefined>;

const FIRST_WAIT_MS = 500;
/** Longest wait for an answer, milliseconds. */
const TIMEOUT_MS = 10_000;
/** Status codes besides 5xx for which a retry may succeed: timeout, too early, too many requests. */
const RETRYABLE = new Set([408, 425, 429]);

/**
 * Posts events as Standard Webhooks specifies. The receiver recognises a repeated event by `webhook-id`, and a genuine
 * one by `webhook-signature`. It accepts an event with a status of 2xx. Redirects are not followed, and link-local
 * addresses are refused.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function createWebhook({
  url,
  secret,
  attempts,
  firstWaitMs = FIRST_WAIT_MS,
}: WebhookSettings): Receiver {
  return async (event, ending) => {
    let problem = '';
    for (let attempt = 1; attempt <= attempts && !ending.aborted; attempt++) {
      const answer = await post(url, event, secret, ending);
      if (answer === undefined) return undefined;
      problem = `attempt ${attempt}: ${answer.problem}`;
      if (!answer.isRetryable) break;
      const wait = firstWaitMs * 2 ** (attempt - 1);
      if (attempt < attempts) await sleep(wait, undefined, { signal: ending }).catch(() => {});
    }
    return `the webhook did not accept it, ${problem}`;
  };
}

async function post(
  url: string,
  event: SceneEvent,
  secret: string | undefined,
  ending: AbortSignal,
): Promise<{ problem: string; isRetryable: boolean } | undefined> {
  const body = JSON.stringify(event);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = secret && { 'webhook-signature': sign(secret, event.event_id, timestamp, body) };
  const headers = {
    'content-type': 'application/json',
    'webhook-id': event.event_id,
    'webhook-timestamp': timestamp,
    ...signature,
  };
  try {
    const signal = AbortSignal.any([ending, AbortSignal.timeout(TIMEOUT_MS)]);
    const { status, body: answer } = await fetchOnce(url, { method: 'POST', headers, body, signal });
    await answer?.cancel();
    if (status >= 200 && status < 300) return undefined;
    return { problem: `HTTP status ${status}`, isRetryable: status >= 500 || RETRYABLE.has(status) };
  } catch (error) {
    const { cause = error } = error as Error;
    const reason = cause as Error;
    return { problem: reason.message, isRetryable: !(reason instanceof OutboundError) };
  }
}

/** `v1,` and HMAC-SHA256 over `<id>.<timestamp>.<body>`, in base64. @param timestamp epoch seconds */
export function sign(secret: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}
