import { readConfig } from '@video-pipeline/config';
import { canListen, freePort, StartError } from './processes.ts';

/** Servers of a stack, their ports, and the remedy where a port is taken. */
const LISTENERS = {
  kafka: { name: 'Kafka', port: () => 9092, instead: 'set KAFKA_BOOTSTRAP_SERVERS to use the Kafka there' },
  s3: { name: 'S3Proxy', port: () => 9000, instead: 'set AWS_ENDPOINT_URL to use the S3 API there' },
  cameras: { name: 'the demo cameras', port: () => 8554, instead: 'name your own cameras with --source' },
  model: {
    name: 'the model server',
    port: () => readConfig(['PORT']).PORT,
    instead: 'set INFERENCE_SERVICE_URL to use the server there',
  },
  health: {
    name: "the ingest host's health",
    port: () => readConfig(['HEALTH_PORT']).HEALTH_PORT,
    instead: 'set HEALTH_PORT to another',
  },
  console: {
    name: 'the console',
    port: () => readConfig(['CONSOLE_PORT']).CONSOLE_PORT,
    instead: 'set CONSOLE_PORT to another, or leave it out with --no-console',
  },
} as const;

export type Listener = keyof typeof LISTENERS;
export type Ports = Record<Listener, number>;

/**
 * The port of each listener: its usual one, or any free one with `auto`.
 * @param needed listeners that will be started; the usual ports of the others are not checked
 * @throws StartError naming a port that is taken, or a HOST that another program has set
 */
export async function choosePorts(needed: Record<Listener, boolean>, auto: boolean): Promise<Ports> {
  const { HOST } = readConfig(['HOST']);
  if (!(await canListen(0, HOST)))
    throw new StartError(
      `HOST=${HOST} is no address of this machine: unset it, or set it to one, or to 0.0.0.0`,
    );
  const ports = {} as Ports;
  for (const listener of Object.keys(LISTENERS) as Listener[]) {
    const { name, port, instead } = LISTENERS[listener];
    const usual = auto ? 0 : port();
    ports[listener] = usual || (await freePort());
    if (!usual || !needed[listener] || (await canListen(usual))) continue;
    throw new StartError(
      `port ${usual}, meant for ${name}, is taken: ${instead}, or start with --ports auto`,
    );
  }
  return ports;
}
