import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '@video-pipeline/config';
import { connectTo, withoutBrackets } from '@video-pipeline/outbound';
import type { Logger } from '@video-pipeline/telemetry';
import { MqttClient } from 'mqtt';

export interface BrokerSettings {
  /** `mqtt://host[:1883]`, or `mqtts://host[:8883]`: by TLS, the certificate verified. */
  url: string;
  username?: string | undefined;
  password?: string | undefined;
  /** What each topic begins with, without a slash at its end. */
  prefix: string;
  /** Whether `<prefix>/available` tells of this connection, retained: `online`, and by the broker `offline` once it is gone. */
  tellsAvailability?: boolean;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** Longest wait for the connection, and for an answer, ms. */
  patienceMs?: number;
}

/** A connection to an MQTT broker, which is made again whenever it breaks. */
export interface Broker {
  isConnected(): boolean;
  /** Publishes at least once. @returns undefined once the broker has it, or why not */
  publish(topic: string, text: string): Promise<string | undefined>;
  /** Publishes what stays for who subscribes later; lost where the broker is away. */
  retain(topic: string, text: string): void;
  /** What is retained directly under a topic, by the last level of its name. */
  retained(parent: string): Promise<Map<string, string>>;
  /** Calls back at each connection that is made. */
  onConnected(then: () => void): void;
  close(): Promise<void>;
}

const PATIENCE_MS = 10_000;
const RECONNECT_MS = 1_000;
/** A broker sends what it retains right after the subscription. */
const RETAINED_MS = 300;

/**
 * Begins to connect. Nothing that is published waits in memory for a broker that is away.
 * @throws OutboundError when the broker has an address that is never allowed
 */
export function connectBroker(settings: BrokerSettings): Broker {
  const { prefix, username, password, tellsAvailability, logger, patienceMs = PATIENCE_MS } = settings;
  const url = new URL(settings.url);
  const available = { topic: `${prefix}/available`, qos: 1, retain: true } as const;
  let problem = 'it has not answered';
  let awaySince: number | undefined;
  const openSocket = () =>
    socketTo(url).on('error', ({ message }) => {
      problem = message;
    });
  const client = new MqttClient(openSocket, {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tellsAvailability && { will: { ...available, payload: Buffer.from('offline') } }),
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: patienceMs,
  });
  // One for each stream that is asked for what is retained of it.
  client.setMaxListeners(0);
  client.on('connect', () => {
    logger.info('connected to the MQTT broker', { broker: url.host });
    awaySince = undefined;
    if (tellsAvailability) client.publish(available.topic, 'online', available);
  });
  // Also what the broker answers: not authorised, for example.
  client.on('error', ({ message }) => {
    problem = message;
  });
  client.on('close', () => {
    if (awaySince === undefined)
      logger.warn('no connection to the MQTT broker', { broker: url.host, problem });
    awaySince ??= performance.now();
  });

  /** Whoever comes while the broker has been away for long does not wait. */
  async function isThere(): Promise<boolean> {
    const until = (awaySince ?? performance.now()) + patienceMs;
    while (!client.connected && performance.now() < until) await sleep(20);
    return client.connected;
  }
  return {
    async publish(topic, text) {
      if (!client.connected && !(await isThere())) return `the MQTT broker is away: ${problem}`;
      const late = sleep(patienceMs, `the MQTT broker has not answered for ${patienceMs / 1000} s`, {
        ref: false,
      });
      const taken = client.publishAsync(topic, text, { qos: 1 }).then(
        () => undefined,
        ({ message }: Error) => `the MQTT broker did not take it: ${message}`,
      );
      return Promise.race([taken, late]);
    },
    isConnected: () => client.connected,
    retain: (topic, text) => void (client.connected && client.publish(topic, text, { retain: true })),
    async retained(parent) {
      const found = new Map<string, string>();
      const take = (topic: string, payload: Buffer, { retain }: { retain: boolean }) => {
        if (retain && topic.startsWith(`${parent}/`))
          found.set(topic.slice(parent.length + 1), payload.toString());
      };
      client.on('message', take);
      try {
        await client.subscribeAsync(`${parent}/+`);
        await sleep(RETAINED_MS);
        await client.unsubscribeAsync(`${parent}/+`);
      } finally {
        client.off('message', take);
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

/**
 * Begins to connect to the broker that the environment names. @returns undefined where it names none
 * @param tellsAvailability a Lambda function is frozen between its batches, and looks gone: it tells of none
 */
export function brokerOfEnvironment(
  logger: BrokerSettings['logger'],
  tellsAvailability = false,
): { broker: Broker; prefix: string } | undefined {
  const config = readConfig(['MQTT_URL', 'MQTT_USERNAME', 'MQTT_PASSWORD', 'MQTT_TOPIC_PREFIX']);
  const {
    MQTT_URL: url,
    MQTT_USERNAME: username,
    MQTT_PASSWORD: password,
    MQTT_TOPIC_PREFIX: prefix,
  } = config;
  if (url === undefined) return undefined;
  const isLambda = process.env.AWS_LAMBDA_FUNCTION_NAME !== undefined;
  const settings = { url, username, password, prefix, logger };
  return {
    broker: connectBroker({ ...settings, tellsAvailability: tellsAvailability && !isLambda }),
    prefix,
  };
}
