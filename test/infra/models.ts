import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { fetchWheel, type Wheel } from '@video-pipeline/assets';

/** AWS's own descriptions of its APIs, as botocore ships them (Apache-2.0); no Python is needed to read them. */
const BOTOCORE: Wheel = {
  name: 'botocore',
  version: '1.44.8',
  files: {
    any: {
      file: 'botocore-1.44.8-py3-none-any.whl',
      sha256: '76342a76c338701db80dcb8afe1c9bd079283d6fffbb9d881442abb02a215043',
    },
  },
  wanted: (path) => /^botocore\/data\/[\w-]+\/[\d-]+\/service-2\.json\.gz$/.test(path),
};

/** The version of each API that is asked. */
const APIS = {
  acm: '2015-12-08',
  'application-autoscaling': '2016-02-06',
  autoscaling: '2011-01-01',
  cloudwatch: '2010-08-01',
  'cognito-idp': '2016-04-18',
  ec2: '2016-11-15',
  ecr: '2015-09-21',
  ecs: '2014-11-13',
  eks: '2017-11-01',
  elbv2: '2015-12-01',
  events: '2015-10-07',
  glue: '2017-03-31',
  iam: '2010-05-08',
  kafka: '2018-11-14',
  lambda: '2015-03-31',
  logs: '2014-03-28',
  route53: '2013-04-01',
  s3: '2006-03-01',
  sagemaker: '2017-07-24',
  secretsmanager: '2017-10-17',
  'service-quotas': '2019-06-24',
  servicediscovery: '2017-03-14',
  sns: '2010-03-31',
  ssm: '2014-11-06',
  sts: '2011-06-15',
} as const;
export type Api = keyof typeof APIS;
export const isApi = (name: string): name is Api => Object.hasOwn(APIS, name);

interface Shape {
  type: string;
  members?: Record<string, { shape: string }>;
  required?: string[];
  member?: { shape: string };
  key?: { shape: string };
  value?: { shape: string };
  enum?: string[];
  pattern?: string;
  min?: number;
  max?: number;
}
interface Model {
  operations: Record<string, { input?: { shape: string } }>;
  shapes: Record<string, Shape>;
}

const models = new Map<Api, Promise<Model>>();

async function modelOf(api: Api): Promise<Model> {
  if (!models.has(api)) models.set(api, load(api));
  return (await models.get(api)) as Model;
}

async function load(api: Api): Promise<Model> {
  const folder = await fetchWheel(BOTOCORE);
  const file = join(folder, 'botocore/data', api, APIS[api], 'service-2.json.gz');
  return JSON.parse(String(await promisify(gunzip)(await readFile(file))));
}

/**
 * Errors that AWS would report for the parameters of a call: unknown or missing fields, and values that are not in an
 * enumeration, do not match a pattern, or are too long, too short, too large or too many.
 * @param parameters by their names in AWS or in Terraform, in any case of letters
 */
export async function problemsOf(api: Api, operation: string, parameters: unknown): Promise<string[]> {
  const model = await modelOf(api);
  const input = model.operations[operation]?.input;
  if (!input) return [`${api} has no ${operation}`];
  return check(model, input.shape, parameters, operation);
}

/** The parameters of a call with the names and types of AWS's SDKs. */
export async function shaped(api: Api, operation: string, parameters: unknown): Promise<unknown> {
  const model = await modelOf(api);
  return shape(model, model.operations[operation]?.input?.shape ?? '', parameters);
}

function shape(model: Model, name: string, value: unknown): unknown {
  const { type, members = {}, member, value: one } = model.shapes[name] ?? { type: '' };
  const entries = Object.entries(Object(value)).filter(([, field]) => !isLeftOut(field));
  if (type === 'structure') {
    const names = Object.keys(members);
    const named = entries.map(([key, field]) => {
      const known = names.find((other) => other.toLowerCase() === key.toLowerCase()) ?? key;
      return [known, shape(model, members[known]?.shape ?? '', field)];
    });
    return Object.fromEntries(named);
  }
  if (type === 'map')
    return Object.fromEntries(entries.map(([key, field]) => [key, shape(model, one?.shape ?? '', field)]));
  if (type === 'list')
    return asList(model, model.shapes[name] as Shape, value).map((item) =>
      shape(model, member?.shape ?? '', item),
    );
  if (['integer', 'long', 'float', 'double'].includes(type)) return Number(value);
  return type === 'boolean' ? String(value) === 'true' : String(value);
}

function check(model: Model, name: string, value: unknown, path: string): string[] {
  const shape = model.shapes[name];
  if (!shape) return [`${path}: no shape ${name}`];
  const into = (shapeName: string, one: unknown, step: string) =>
    check(model, shapeName, one, `${path}${step}`);
  if (shape.type === 'structure') return checkStructure(shape, value, path, into);
  if (shape.type === 'list') {
    const list = asList(model, shape, value);
    return [
      ...range(shape, list.length, path, 'items'),
      ...list.flatMap((one, index) => into(shape.member?.shape ?? '', one, `[${index}]`)),
    ];
  }
  if (shape.type === 'map') {
    const entries = Object.entries(value as object);
    return [
      ...range(shape, entries.length, path, 'entries'),
      ...entries.flatMap(([key, one]) => [
        ...into(shape.key?.shape ?? '', key, `{${key}}`),
        ...into(shape.value?.shape ?? '', one, `.${key}`),
      ]),
    ];
  }
  return checkValue(shape, value, path);
}

function checkStructure(
  { members = {}, required = [] }: Shape,
  value: unknown,
  path: string,
  into: (shape: string, one: unknown, step: string) => string[],
): string[] {
  if (typeof value !== 'object' || value === null) return [`${path}: ${value} is no structure`];
  const byName = new Map(Object.keys(members).map((key) => [key.toLowerCase(), key]));
  const given = Object.entries(value).filter(([, one]) => !isLeftOut(one));
  const known = given.map(([key]) => byName.get(key.toLowerCase()));
  return [
    ...required.filter((key) => !known.includes(key)).map((key) => `${path}: ${key} is missing`),
    ...given.flatMap(([key, one], index) => {
      const name = known[index];
      return name ? into(members[name]?.shape ?? '', one, `.${name}`) : [`${path}: no field ${key}`];
    }),
  ];
}

/** Parameters that AWS's provider does not send. */
const isLeftOut = (value: unknown) =>
  value === undefined || value === '' || (Array.isArray(value) && value.length === 0);

/** Terraform writes one block as an object, and pairs of names and values as a map. */
function asList(model: Model, { member }: Shape, value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  const { members = {} } = model.shapes[member?.shape ?? ''] ?? {};
  const [key, ...others] = Object.keys(members).filter((one) => /^(key|name)$/i.test(one));
  const hasValue = Object.keys(members).find((one) => /^value$/i.test(one));
  if (key && hasValue && others.length === 0 && typeof value === 'object' && value !== null)
    return Object.entries(value).map(([name, one]) => ({ [key]: name, [hasValue]: one }));
  return [value];
}

function checkValue(shape: Shape, value: unknown, path: string): string[] {
  const found = `${path}: ${JSON.stringify(value)}`;
  if (['integer', 'long', 'float', 'double'].includes(shape.type)) {
    const number = Number(value);
    if (!Number.isFinite(number) || typeof value === 'boolean') return [`${found} is no number`];
    const isWhole = ['float', 'double'].includes(shape.type) || Number.isInteger(number);
    return isWhole ? range(shape, number, path, '') : [`${found} is not whole`];
  }
  if (shape.type === 'boolean')
    return ['true', 'false'].includes(String(value)) ? [] : [`${found} is no boolean`];
  if (shape.type === 'blob' || shape.type === 'timestamp') return [];
  const text = String(value);
  if (typeof value === 'object') return [`${found} is no string`];
  return [
    ...(shape.enum && !shape.enum.includes(text) ? [`${found} is none of ${shape.enum.slice(0, 40)}`] : []),
    ...range(shape, text.length, path, 'characters'),
    ...(shape.pattern && !matches(shape.pattern, text) ? [`${found} does not match ${shape.pattern}`] : []),
  ];
}

/** A Java pattern for the whole text. A few patterns are invalid in JavaScript with the flag `u`, and valid without. */
function matches(pattern: string, text: string): boolean {
  const whole = `^(?:${pattern.replaceAll('\\p{Print}', '[ -~]')})$`;
  try {
    return new RegExp(whole, 'u').test(text);
  } catch {
    return new RegExp(whole).test(text);
  }
}

function range({ min, max }: Shape, size: number, path: string, of: string): string[] {
  if (min !== undefined && size < min) return [`${path}: ${size} ${of} are fewer than ${min}`];
  if (max !== undefined && size > max) return [`${path}: ${size} ${of} are more than ${max}`];
  return [];
}
