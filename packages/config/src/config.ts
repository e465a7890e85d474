import type { z } from 'zod';
import { variables } from './variables.ts';

type Variables = typeof variables;
export type VariableName = keyof Variables;
/** The typed value of one environment variable. */
export type Value<Name extends VariableName> = z.output<Variables[Name]>;
export type Config<Name extends VariableName> = { readonly [Key in Name]: Value<Key> };

/** An environment variable has a value that can't be used. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads the named variables from `env`. An empty variable counts as unset.
 * @throws ConfigError that names each wrong variable
 * @example
 * readConfig(['FRAME_RATE', 'S3_PREFIX'], { FRAME_RATE: '5' }); // => { FRAME_RATE: 5, S3_PREFIX: 'annotated' }
 */
export function readConfig<Name extends VariableName>(
  names: readonly Name[],
  env: NodeJS.ProcessEnv = process.env,
): Config<Name> {
  const problems: string[] = [];
  const entries = names.map((name) => {
    const parsed = variables[name].safeParse(env[name] === '' ? undefined : env[name]);
    // In a long list, several items may be wrong in the same way.
    const issues = new Set(parsed.error?.issues.map(describe));
    if (issues.size > 0) problems.push(`${name} ${[...issues].join(', ')}`);
    return [name, parsed.data];
  });
  // A stage that reads what it writes never comes to an end.
  const topics = entries.filter(([name]) => String(name).endsWith('_TOPIC'));
  for (const [index, [name, topic]] of topics.entries())
    if (topics.slice(0, index).some(([, other]) => other === topic))
      problems.push(`${name} must not be the topic of other records, too`);
  if (problems.length > 0) throw new ConfigError(problems.join('; '));
  return Object.fromEntries(entries);
}

/** The AWS region of a deployment, and of the commands that work on it. The SDK knows both variables, too. */
export function deployRegion(): string {
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  return readConfig(['AWS_REGION'], { AWS_REGION: AWS_REGION || AWS_DEFAULT_REGION }).AWS_REGION;
}

// The value itself is left out: a variable may hold a secret.
function describe(issue: z.core.$ZodIssue): string {
  const { code, message } = issue;
  if (code === 'invalid_value') return `must be one of ${issue.values.join(', ')}`;
  if (code === 'invalid_type') return `must be a ${issue.expected === 'int' ? 'whole ' : ''}number`;
  if (code === 'too_big') return `must be ${issue.maximum} or less`;
  const of = code === 'too_small' && issue.origin === 'string' ? 'characters ' : '';
  if (code === 'too_small') return `must ${of ? 'have' : 'be'} ${issue.minimum} ${of}or more`;
  return message.replace(/^Invalid /, 'must be a valid ');
}
