import { type Config, ConfigError, readConfig, type VariableName } from '@video-pipeline/config';

/** What a function's variable has on AWS in place of a secret: its ARN and version in Secrets Manager, in ECS's form. */
const SECRET = /^(arn:[\w-]+:secretsmanager:([\w-]+):\d+:secret:[^:]+):::([\w-]+)$/;
/** Limits of an attempt. Three are made: the function must not run out of time without saying why. */
const PATIENCE = { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true };

/**
 * Checks variables as readConfig does, but for those that name secrets. What it returns reads all of them, with the
 * values of the secrets, and throws a ConfigError that names the variable and the secret which can't be read.
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
  const client = new SecretsManagerClient({ region, requestHandler: PATIENCE });
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
