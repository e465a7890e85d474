import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { readConfig } from '@video-pipeline/config';
import { STORAGE_VARIABLES, s3Config } from '@video-pipeline/storage';
import { startGuarded } from './guarded.ts';
import { installJava, JARS, propertiesText } from './java.ts';
import { freePort, type LocalServer } from './processes.ts';

const JVM = ['-Xms32m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

export interface S3Server extends LocalServer {
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** Folder in which each bucket is a folder and each object a file. */
  folder: string;
}

/**
 * Starts S3Proxy on 127.0.0.1: a real S3 API whose objects are plain files, `<dataDir>/s3/<bucket>/<key>`.
 * It takes any credentials.
 * @param options.port 0 or left out: a free one
 * @throws AssetError, JavaError, StartError
 */
export async function startS3Proxy(options: {
  dataDir: string;
  port?: number | undefined;
  note?: (line: string) => void;
  /** Ends it before it is ready. */
  stop?: AbortSignal;
}): Promise<S3Server> {
  const { command, env } = await installJava('S3Proxy', JARS.s3proxy, options.note);
  const folder = join(options.dataDir, 's3');
  const own = join(options.dataDir, 's3proxy');
  await mkdir(folder, { recursive: true });
  await mkdir(own, { recursive: true });
  const url = `http://127.0.0.1:${options.port || (await freePort())}`;
  const properties = join(own, 's3proxy.properties');
  await writeFile(properties, serverProperties(url, folder));
  const logback = join(own, 'logback.xml');
  await writeFile(logback, logConfiguration(join(options.dataDir, 'logs', 's3proxy.log')));
  const java = [...JVM, `-Dlogback.configurationFile=${logback}`];
  const server = await startGuarded({
    name: 'S3Proxy',
    command: [...command, ...java, 'org.gaul.s3proxy.Main', '--properties', properties],
    env,
    pidFile: join(options.dataDir, 'run', 's3proxy.pid'),
    logFile: join(options.dataDir, 'logs', 's3proxy.log'),
    stop: options.stop,
    isReady: () =>
      fetch(url).then(
        (response) => response.ok,
        () => false,
      ),
  });
  return { url, folder, ...server };
}

function serverProperties(endpoint: string, folder: string): string {
  return propertiesText({
    's3proxy.endpoint': endpoint,
    's3proxy.authorization': 'none',
    's3proxy.ignore-unknown-headers': true,
    'jclouds.provider': 'filesystem-nio2',
    'jclouds.identity': 'local',
    'jclouds.credential': 'local',
    'jclouds.filesystem.basedir': folder,
  });
}

function logConfiguration(path: string): string {
  const file = path.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<configuration>
  <appender name="file" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>${file}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>${file}.%i</fileNamePattern><minIndex>1</minIndex><maxIndex>1</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy"><maxFileSize>5MB</maxFileSize></triggeringPolicy>
    <encoder><pattern>%d %level %msg \\(%logger\\)%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="file"/></root>
</configuration>
`;
}

/** For an S3 API that takes any credentials, but whose requests must be signed. */
export const LOCAL_CREDENTIALS = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };

/** Variables with credentials for an S3 API of the user's: none where the user has some, by variable or file. */
export function fallbackCredentials(): Partial<typeof LOCAL_CREDENTIALS> {
  const { AWS_ACCESS_KEY_ID, AWS_PROFILE } = process.env;
  const hasOwn = AWS_ACCESS_KEY_ID || AWS_PROFILE || existsSync(join(homedir(), '.aws', 'credentials'));
  return hasOwn ? {} : LOCAL_CREDENTIALS;
}

/** A client for the S3 API at `endpoint`, with the user's credentials, or any; for AWS without one. */
export function connectS3(endpoint?: string): S3Client {
  const config = readConfig(STORAGE_VARIABLES);
  if (!endpoint) return new S3Client(s3Config(config));
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = fallbackCredentials();
  return new S3Client({
    ...s3Config({ ...config, AWS_ENDPOINT_URL: endpoint }),
    ...(accessKeyId && secretAccessKey ? { credentials: { accessKeyId, secretAccessKey } } : {}),
  });
}

/** Creates the bucket unless it is there. */
export async function ensureBucket(s3: S3Client, bucket: string): Promise<void> {
  try {
    await s3.send(new HeadBucketCommand({ Bucket: bucket }));
  } catch {
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  }
}
