import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo, withoutBrackets } from '@video-pipeline/outbound';
import type { Logger } from '@video-pipeline/telemetry';
import { MqttClient } from 'mqtt';
import { configWithSecrets } from './secrets.ts';

interface MqttSettings {
  /** `mqtt://host[:1883]`, or `mqtts://host[:8883]`: over TLS, with the certificate verified. */
  url: string;
  username?: string | undefined;
  password?: string | undefined;
  /** First levels of each topic, without a slash at the end. */
  prefix: string;
  /**
   * Whether this client publishes its state to `<prefix>/available`, as a retained message: `online`, and `offline`
   * (the MQTT will) once the connection is lost.
   */
  publishesAvailability?: boolean;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** Longest wait for the connection, and for an answer of the broker, milliseconds. */
  timeoutMs?: number;
}

/** A client of an MQTT broker. It reconnects whenever the connection breaks. */
export interface MqttConnection {
  isConnected(): boolean;
  /** Publishes at least once. @returns undefined once the broker has acknowledged, or the reason why it has not */
  publish(topic: string, text: string): Promise<string | undefined>;
  /** Publishes a retained message. Without a connection the message is lost. */
  retain(topic: string, text: string): void;
  /** Retained messages of the topics directly under `parent`, by the last level of the topic. */
  retained(parent: string): Promise<Map<string, string>>;
  /** Calls `then` after each connect and reconnect. */
  onConnected(then: () => void): void;
  close(): Promise<void>;
}

const TIMEOUT_MS = 10_000;
const RECONNECT_MS = 1_000;
/** Wait for retained messages: a broker sends them right after the subscription. */
const RETAINED_MS = 300;

/**
 * Begins to connect. Messages are not queued while the broker can't be reached.
 * @throws OutboundError when the broker's address is never allowed, link-local for example
 */
export function connectMqtt(settings: MqttSettings): MqttConnection {
  const { prefix, username, password, publishesAvailability, logger, timeoutMs = TIMEOUT_MS } = settings;
  const url = new URL(settings.url);
  const available = { topic: `${prefix}/available`, qos: 1, retain: true } as const;
  let problem = 'it has not answered';
  let awaySince: number | undefined;
  let triedAt = performance.now();
  let failedAt = Number.NEGATIVE_INFINITY;
  const openSocket = () =>
    socketTo(url).on('error', ({ message }) => {
      problem = message;
    });
  const client = new MqttClient(openSocket, {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(publishesAvailability && { will: { ...available, payload: Buffer.from('offline') } }),
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: timeoutMs,
  });
  // `retained` adds a listener for each stream: Node's warning of a leak would be wrong.
  client.setMaxListeners(0);
  client.on('connect', () => {
    logger.info('connected to the MQTT broker', { broker: url.host });
    awaySince = undefined;
    if (publishesAvailability) client.publish(available.topic, 'online', available);
  });
  // A refusal by the broker arrives here, too: 'not authorised', for example.
  client.on('error', ({ message }) => {
    problem = message;
  });
  client.on('reconnect', () => {
    triedAt = performance.now();
  });
  client.on('close', () => {
    if (awaySince === undefined)
      logger.warn('no connection to the MQTT broker', { broker: url.host, problem });
    const now = performance.now();
    awaySince ??= now;
    // An attempt that lasted longer was interrupted, as when a Lambda is frozen, and says nothing of the broker.
    if (now - triedAt < timeoutMs + RECONNECT_MS) failedAt = now;
  });

  /** Whether there has been no connection for `timeoutMs`, and the last attempt has just failed. */
  function isAway(): boolean {
    const now = performance.now();
    return now - (awaySince ?? now) > timeoutMs && now - failedAt < 2 * RECONNECT_MS;
  }

  let tick: Promise<void> | undefined;
  /**
   * Waits for the connection. Does not wait if the broker is known to be away. All messages wait by the same ticks, so
   * that they keep their order, and none overtakes those that wait.
   */
  async function waitForConnection(): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    while ((tick || !client.connected) && !isAway() && performance.now() < until) {
      tick ??= sleep(20).finally(() => {
        tick = undefined;
      });
      await tick;
    }
    return client.connected;
  }
  return {
    async publish(topic, text) {
      if ((tick || !client.connected) && !(await waitForConnection()))
        return `no MQTT connection: ${problem}`;
      const late = sleep(timeoutMs, `the MQTT broker has not answered for ${timeoutMs / 1000} s`, {
        ref: false,
      });
      // The connection may have died while a Lambda was frozen. The client sends the message again over a new one.
      const { stream } = client;
      const renewal = setTimeout(() => stream.destroy(), timeoutMs / 2).unref();
      const acknowledged = client.publishAsync(topic, text, { qos: 1 }).then(
        () => undefined,
        ({ message }: Error) => `the MQTT broker did not accept it: ${message}`,
      );
      return Promise.race([acknowledged.finally(() => clearTimeout(renewal)), late]);
    },
    isConnected: () => client.connected,
    retain: (topic, text) => void (client.connected && client.publish(topic, text, { retain: true })),
    async retained(parent) {
      const found = new Map<string, string>();
      const onMessage = (topic: string, payload: Buffer, { retain }: { retain: boolean }) => {
        if (retain && topic.startsWith(`${parent}/`))
          found.set(topic.slice(parent.length + 1), payload.toString());
      };
      client.on('message', onMessage);
      try {
        await client.subscribeAsync(`${parent}/+`);
        await sleep(RETAINED_MS);
        await client.unsubscribeAsync(`${parent}/+`);
      } finally {
        client.off('message', onMessage);
      }
      return found;
    },
    onConnected: (then) => void client.on('connect', then),
    close: () => client.endAsync(),
  };
}

function socketTo({ protocol, hostname, port }: URL) {
  const isTls = protocol === 'mqtts:';
  const target = { host: withoutBrackets(hostname), port: Number(port) || (isTls ? 8883 : 1883) };
  return connectTo(isTls ? { ...target, tls: 'verified' } : target);
}

const readSettings = configWithSecrets(['MQTT_URL', 'MQTT_USERNAME', 'MQTT_PASSWORD', 'MQTT_TOPIC_PREFIX']);

/**
 * Begins to connect to the broker of MQTT_URL. @returns undefined without MQTT_URL
 * @param publishesAvailability has no effect in a Lambda function: AWS freezes it between batches, and the broker would
 *   then publish `offline`
 */
export async function mqttFromEnvironment(
  logger: MqttSettings['logger'],
  publishesAvailability = false,
): Promise<{ broker: MqttConnection; prefix: string } | undefined> {
  const config = await readSettings();
  const { MQTT_URL: url, MQTT_TOPIC_PREFIX: prefix } = config;
  if (url === undefined) return undefined;
  const broker = connectMqtt({
    url,
    username: config.MQTT_USERNAME,
    password: config.MQTT_PASSWORD,
    prefix,
    publishesAvailability: publishesAvailability && process.env.AWS_LAMBDA_FUNCTION_NAME === undefined,
    logger,
  });
  return { broker, prefix };
}
