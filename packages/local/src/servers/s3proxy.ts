import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { getHttp } from '@video-pipeline/telemetry';
import { freePort, type LocalServer } from '../supervisor/processes.ts';
import { localCredentials, type S3Credentials } from './credentials.ts';
import { startGuarded } from './guarded.ts';
import { installJava, JARS, type JavaServerOptions, propertiesText, SMALL_JVM } from './java.ts';
import { sharedClasses } from './shared-classes.ts';

const JVM = ['-Xms32m', '-Xmx256m', ...SMALL_JVM];

export interface S3Server extends LocalServer {
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** Folder in which each bucket is a folder and each object a file. */
  folder: string;
  credentials: S3Credentials;
  /** See {@link sharedClasses}. */
  archived: Promise<void>;
}

/**
 * Starts S3Proxy on 127.0.0.1: a real S3 API whose objects are plain files, `<dataDir>/s3/<bucket>/<key>`.
 * It takes requests that are signed with the folder's own credentials.
 * @param options.credentials left out: those in `<dataDir>/credentials`, which are made if there are none
 * @throws AssetError, StartError
 */
export async function startS3Proxy(
  options: JavaServerOptions & { credentials?: S3Credentials },
): Promise<S3Server> {
  const installed = await installJava('S3Proxy', JARS.s3proxy, options.note);
  const { command, env } = installed;
  const dataDir = resolve(options.dataDir);
  const [folder, own] = [join(dataDir, 's3'), join(dataDir, 's3proxy')];
  await mkdir(folder, { recursive: true });
  await mkdir(own, { recursive: true });
  const port = options.port || (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const properties = join(own, 's3proxy.properties');
  const credentials = options.credentials ?? (await localCredentials(options.dataDir));
  await writeFile(properties, serverProperties(url, folder, credentials), { mode: 0o600 });
  await chmod(properties, 0o600); // the file may exist with another mode
  const logback = join(own, 'logback.xml');
  await writeFile(logback, LOG);
  const classes = sharedClasses(installed, own);
  const java = [...JVM, ...classes.flags, `-Dlogback.configurationFile=${logback}`];
  const server = await startGuarded({
    name: 'S3Proxy',
    command: [...command, ...java, 'org.gaul.s3proxy.Main', '--properties', properties],
    env,
    cwd: own,
    pidFile: join(dataDir, 'run', 's3proxy.pid'),
    logFile: join(dataDir, 'logs', 's3proxy.log'),
    stop: options.stop,
    port,
    isReady: () =>
      getHttp(url).then(
        () => true, // any answer counts, even a refusal
        () => false,
      ),
  });
  const archived = classes.keep(server.exited, options.archiveAfterMs);
  return { url, folder, credentials, archived, ...server };
}

function serverProperties(endpoint: string, folder: string, credentials: S3Credentials): string {
  return propertiesText({
    's3proxy.endpoint': endpoint,
    's3proxy.authorization': 'aws-v4',
    's3proxy.identity': credentials.AWS_ACCESS_KEY_ID,
    's3proxy.credential': credentials.AWS_SECRET_ACCESS_KEY,
    's3proxy.ignore-unknown-headers': true,
    'jclouds.provider': 'filesystem-nio2',
    'jclouds.identity': 'local',
    'jclouds.credential': 'local',
    'jclouds.filesystem.basedir': folder,
  });
}

/** The path is relative to S3Proxy's folder: a `%` in the name of a parent folder would be part of the pattern. */
const LOG = `<configuration>
  <appender name="file" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>../logs/s3proxy.log</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>../logs/s3proxy.log.%i</fileNamePattern><minIndex>1</minIndex><maxIndex>1</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy"><maxFileSize>5MB</maxFileSize></triggeringPolicy>
    <encoder><pattern>%d %level %msg \\(%logger\\)%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="file"/></root>
</configuration>
`;
