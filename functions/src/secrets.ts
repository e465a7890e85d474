import { type Config, ConfigError, readConfig, type VariableName } from '@video-pipeline/config';

/** Value of a variable that names a secret, on AWS: ARN and version in Secrets Manager, in the form of ECS. */
const SECRET = /^(arn:[\w-]+:secretsmanager:([\w-]+):\d+:secret:[^:]+):::([\w-]+)$/;
/** Milliseconds. The SDK makes three attempts: they must end before the function's time does, to report the cause. */
export const TIMEOUTS = { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true };

/**
 * Checks variables as readConfig does, except those that name secrets.
 * @returns a function that reads all of them, and throws a ConfigError with the variable and secret that can't be read
 * @throws ConfigError
 */
export function configWithSecrets<Name extends VariableName>(
  names: readonly Name[],
): () => Promise<Config<Name>> {
  readConfig(names.filter((name) => !SECRET.test(process.env[name] ?? '')));
  const read = async (name: Name) => [name, await readValue(name)];
  return async () => readConfig(names, Object.fromEntries(await Promise.all(names.map(read))));
}

/** The value of a variable, or of the secret that it names on AWS. @throws ConfigError that names both */
export async function readValue(name: string): Promise<string> {
  const given = process.env[name] ?? '';
  const [, SecretId, region, VersionId] = SECRET.exec(given) ?? [];
  if (!region) return given;
  // Loaded only where a secret is named.
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  const client = new SecretsManagerClient({ region, requestHandler: TIMEOUTS });
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId, VersionId }));
    if (!SecretString) throw new Error('it holds no text');
    return SecretString;
  } catch (cause) {
    throw new ConfigError(`${name} can't be read from the secret ${given}: ${cause}`, { cause });
  } finally {
    client.destroy();
  }
}
