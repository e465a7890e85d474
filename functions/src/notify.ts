import { setTimeout as sleep } from 'node:timers/promises';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { ConfigError } from '@video-pipeline/config';
import type { MSKEvent } from '@video-pipeline/frame';
import type { SceneEvent } from '@video-pipeline/scene';
import { createPutFailed, createStore, inParallel } from '@video-pipeline/storage';
import { createLogger, emitMetrics } from '@video-pipeline/telemetry';
import { createMqttReceiver } from './frigate.ts';
import { mqttFromEnvironment } from './mqtt.ts';
import {
  decodeEvents,
  type Failure,
  type FailureDependencies,
  lazyHandler,
  putAllFailed,
} from './records.ts';
import { configWithSecrets, TIMEOUTS } from './secrets.ts';
import { createWebhook, type Receiver } from './webhook.ts';

/** Puts events on a bus. @throws when the bus did not accept all of them */
export type Bus = (events: readonly SceneEvent[]) => Promise<void>;

interface NotifyDependencies extends FailureDependencies {
  webhook?: Receiver | undefined;
  mqtt?: Receiver | undefined;
  bus?: Bus | undefined;
}

const EVENT_CONCURRENCY = 8;
/** Share of a function's time in which events are delivered. In the rest, undelivered ones are put into failed/. */
const DELIVERY_SHARE = 0.75;
/** Most entries of one PutEvents request, attempts to put them, and first wait between two of these, ms. */
const BUS_ENTRIES = 10;
const BUS_ATTEMPTS = 4;
const BUS_WAIT_MS = 200;

/**
 * The Lambda that delivers events. Each record of `events` goes to the bus, to the webhook and to the MQTT broker. An
 * event that the webhook or the broker does not accept becomes a dead letter in failed/, and blocks no other event. A
 * fault of the bus fails the batch. An event that is delivered again has the same id.
 */
export function createNotify(dependencies: NotifyDependencies) {
  const { webhook, mqtt, bus } = dependencies;
  const receivers = [
    { code: 'WEBHOOK_REFUSED', name: 'webhook', deliver: webhook },
    { code: 'MQTT_REFUSED', name: 'MQTT broker', deliver: mqtt },
  ] as const;
  return async (batch: MSKEvent, context: { getRemainingTimeInMillis(): number }): Promise<void> => {
    // Without this limit, a receiver that hangs would fail the batch at each delivery and delay all other events.
    const ending = AbortSignal.timeout(Math.floor(DELIVERY_SHARE * context.getRemainingTimeInMillis()));
    const { events, failures } = decodeEvents(batch);
    await bus?.(events.map((one) => one.event));
    const answers = await Promise.all(
      receivers.map(async ({ code, name, deliver }) => {
        const reasons = deliver
          ? await inParallel(events, EVENT_CONCURRENCY, async ({ event }) =>
              ending.aborted ? `no time was left for the ${name}` : deliver(event, ending),
            )
          : [];
        return { code, reasons };
      }),
    );
    // An event that both receivers refused is one dead letter with both reasons, and the code of the webhook.
    const refusals = events.map(({ record }, index): Failure | undefined => {
      const refused = answers.filter(({ reasons }) => reasons[index] !== undefined);
      const [first] = refused;
      const reason = refused.map(({ reasons }) => reasons[index]).join('; ');
      return first && { record, code: first.code, reason };
    });
    failures.push(...refusals.filter((one) => one !== undefined));
    report(events.filter((_, index) => !refusals[index]).map(({ event }) => event));
    await putAllFailed('notify', failures, dependencies);
  };
}

function report(delivered: readonly SceneEvent[]): void {
  for (const [stream, list] of Map.groupBy(delivered, ({ stream_id }) => stream_id)) {
    emitMetrics('notify', stream, { EventsDelivered: list.length });
  }
}

/** A client that asks again where none answers: its connection may have died while AWS froze the function. */
export const busClient = (region: string, timeouts: Partial<typeof TIMEOUTS> = {}) =>
  new EventBridgeClient({ region, requestHandler: { ...TIMEOUTS, ...timeouts } });

/**
 * Puts events on an EventBridge bus: source `video-pipeline`, detail type the event's type, detail the event. Those
 * that the bus refuses are put again alone, so that a bus that throttles does not get the others twice.
 */
export function createBus(
  client: Pick<EventBridgeClient, 'send'>,
  busName: string,
  firstWaitMs = BUS_WAIT_MS,
): Bus {
  const entryOf = (event: SceneEvent) => ({
    EventBusName: busName,
    Source: 'video-pipeline',
    DetailType: event.type,
    Detail: JSON.stringify(event),
    Time: new Date(event.at),
  });
  const put = async (all: ReturnType<typeof entryOf>[]) => {
    let rest = all;
    for (let attempt = 1; ; attempt++) {
      const { FailedEntryCount = 0, Entries } = await client.send(new PutEventsCommand({ Entries: rest }));
      if (FailedEntryCount === 0) return;
      const code = Entries?.find(({ ErrorCode }) => ErrorCode)?.ErrorCode;
      if (attempt === BUS_ATTEMPTS)
        throw new Error(`bus '${busName}' refused ${FailedEntryCount} of ${all.length} events: ${code}`);
      rest = rest.filter((_, index) => Entries?.[index]?.ErrorCode);
      await sleep(firstWaitMs * 2 ** (attempt - 1));
    }
  };
  return async (events) => {
    for (let at = 0; at < events.length; at += BUS_ENTRIES)
      await put(events.slice(at, at + BUS_ENTRIES).map(entryOf));
  };
}

const readSettings = configWithSecrets([
  'WEBHOOK_URL',
  'WEBHOOK_SECRET',
  'WEBHOOK_ATTEMPTS',
  'EVENT_BUS_NAME',
  'AWS_REGION',
]);

const logger = createLogger('notify');

async function fromEnvironment(): Promise<Pick<NotifyDependencies, 'webhook' | 'mqtt' | 'bus'>> {
  const config = await readSettings();
  const { WEBHOOK_URL: url, WEBHOOK_SECRET: secret, EVENT_BUS_NAME: busName } = config;
  if (url && !secret)
    logger.warn('events are posted unsigned: WEBHOOK_SECRET is not set, so that anyone can post such events');
  const mqtt = await mqttFromEnvironment(logger, true);
  if (!url && !mqtt && !busName) throw new ConfigError('WEBHOOK_URL, MQTT_URL or EVENT_BUS_NAME must be set');
  return {
    mqtt: mqtt && createMqttReceiver(mqtt.broker, mqtt.prefix),
    webhook: url ? createWebhook({ url, secret, attempts: config.WEBHOOK_ATTEMPTS }) : undefined,
    bus: busName ? createBus(busClient(config.AWS_REGION), busName) : undefined,
  };
}

/** The handler as Lambda runs it, wired from the environment at its first batch. */
export const handler = lazyHandler(async () =>
  createNotify({ ...(await fromEnvironment()), putFailed: createPutFailed(createStore(), 'notify'), logger }),
);
