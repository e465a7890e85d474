import { readConfig, type VariableName } from '@video-pipeline/config';

/** Secrets, by the names of the variables that get their values. */
export type Secrets = Record<string, ReturnType<typeof createSecret>>;

/**
 * Keeps a value in Secrets Manager, encrypted with AWS's own key for it. A removed secret is deleted at once: during a
 * recovery window, AWS would refuse a new secret of that name. The next deploy sets the value again.
 * @param options.path name of the secret, after the names of app and stage
 * @param options.keep sets only the first value. Later ones are set at AWS, and a new task reads the newest `version`
 */
export function createSecret(
  name: string,
  options: { path: string; value: $util.Input<string>; keep?: boolean },
) {
  const secret = new aws.secretsmanager.Secret(name, {
    name: `${$app.name}/${$app.stage}/${options.path}`,
    recoveryWindowInDays: 0,
  });
  const version = new aws.secretsmanager.SecretVersion(
    `${name}Version`,
    { secretId: secret.id, secretString: $util.secret(options.value) },
    { ignoreChanges: options.keep ? ['secretString'] : [] },
  );
  // Both forms depend on the version, so that the value exists before a task reads it.
  const suffix = version.versionId.apply((id) => (options.keep ? '' : `:::${id}`));
  return {
    arn: secret.arn,
    /** ARN of this version, in ECS's form: a new value changes the task or function, and so starts a new one. */
    version: $interpolate`${secret.arn}${suffix}`,
  };
}

const given: Secrets = {};

/** Those variables of the deploying shell that are set, as secrets. Several processes may need the same. */
export function secretsGiven(names: readonly VariableName[]): Secrets {
  const shell = readConfig(names);
  const set = names.filter((name) => shell[name]);
  for (const path of set)
    given[path] ??= createSecret(`Secret-${path}`, { path, value: String(shell[path]) });
  return Object.fromEntries(set.map((name) => [name, given[name]]));
}

/** What processes get in place of secrets, by variable. */
export const versionsOf = (secrets: Secrets): Record<string, $util.Output<string>> =>
  Object.fromEntries(Object.entries(secrets).map(([name, { version }]) => [name, version]));

/** Permission to read secrets. AWS's own key needs none. */
export function reading(secrets: Secrets): sst.aws.FunctionPermissionArgs[] {
  const resources = Object.values(secrets).map(({ arn }) => arn);
  return resources.length > 0 ? [{ actions: ['secretsmanager:GetSecretValue'], resources }] : [];
}
