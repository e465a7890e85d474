import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rows } from '../../infra/stages.ts';
import { type Evaluation, evaluate, type Graph, prepare, type Resource } from './offline/evaluate.ts';
import { makeOnce } from './offline/lock.ts';
import { ROOT } from './offline/platform.ts';
import { sourcesHash } from './offline/sources.ts';
import { hosted, thrifty } from './options.ts';

/** The account of every evaluation. */
export const ACCOUNT = '123456789012';

/** The roles that may use the Kubernetes clusters. The role that creates them is in the list, too, and one role is in both. */
const role = (name: string) => `arn:aws:iam::${ACCOUNT}:role/${name}`;
export const ACCESS = {
  CLUSTER_ADMINS: [role('operate'), role('ci/deploy')].join(),
  CLUSTER_VIEWERS: [role('look'), role('operate')].join(),
};

const CAMERAS = { CAMERAS_FILE: 'test/infra/cameras.yaml' };

/** Secrets of the deploying shell, with values that a test can find elsewhere. */
export const SECRETS = {
  MQTT_USERNAME: 'planted-user',
  MQTT_PASSWORD: 'planted-password',
  WEBHOOK_URL: 'https://hooks.example.com/planted-token',
  WEBHOOK_SECRET: `whsec_${Buffer.from('planted-signing-key-of-32-bytes!').toString('base64')}`,
};
const RECEIVERS = { MQTT_URL: 'mqtts://broker.example.com', ...SECRETS };

/** All kinds of deployment: three stages, `sst dev`, and stages with all options. */
export const EVALUATIONS = {
  production: { stage: 'production', env: { ...CAMERAS, ...ACCESS } },
  staging: { stage: 'staging', env: ACCESS },
  personal: { stage: 'alice' },
  dev: { stage: 'alice', dev: true },
  hosted: { stage: 'hosted', row: hosted, env: { ...CAMERAS, ...RECEIVERS } },
} as const satisfies Record<string, Evaluation>;

export type Deployed = keyof typeof EVALUATIONS;
export const DEPLOYED = Object.keys(EVALUATIONS) as Deployed[];

/** Source addresses of deployments in each evaluation. */
export const DEPLOY_CIDR = '198.51.100.7/32';

/** Images of the model in use, and of a canary. */
export const TRIED = { MODEL_IMAGE: 'registry/model@sha256:old', MODEL_CANARY: 'registry/model@sha256:new' };

/** All kinds of deployment, with the temporary canary, and with tasks in place of functions. */
const ALL = {
  ...EVALUATIONS,
  canary: { stage: 'production', env: { ...CAMERAS, ...TRIED } },
  thrifty: { stage: 'thrifty', row: thrifty, env: { ...CAMERAS, ...RECEIVERS } },
} as const satisfies Record<string, Evaluation>;
// So that stageOf finds them here as in an evaluation.
for (const evaluation of Object.values<Evaluation>(ALL)) {
  if (evaluation.row) rows[evaluation.stage] = evaluation.row;
}
type Evaluated = keyof typeof ALL;

let hash: string | undefined;
const graphs = new Map<Evaluated, Promise<Graph>>();

/** The resources of a deployment. They are frozen, since all tests of a worker share them. */
export function graphOf(deployed: Evaluated): Promise<Graph> {
  const graph = graphs.get(deployed) ?? readGraph(deployed);
  graphs.set(deployed, graph);
  return graph;
}

/** Cached on disk until the code that makes them changes. */
async function readGraph(deployed: Evaluated): Promise<Graph> {
  hash ??= sourcesHash(ROOT, ['test/infra/cameras.yaml', 'test/infra/{graphs,options}.ts']);
  const file = join(ROOT, '.sst/offline', `${deployed}-${hash}.json`);
  await makeOnce(
    ROOT,
    `graph-${deployed}`,
    () => existsSync(file),
    () => keepGraph(deployed, file),
  );
  return JSON.parse(readFileSync(file, 'utf8'), (_key, value) => Object.freeze(value));
}

async function keepGraph(deployed: Evaluated, file: string): Promise<void> {
  await prepare((line) => process.stderr.write(`${line}\n`));
  const { stage, ...rest }: Evaluation = ALL[deployed];
  const graph = await evaluate({ stage, ...rest, env: { DEPLOY_CIDRS: DEPLOY_CIDR, ...rest.env } });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, JSON.stringify(graph));
  renameSync(partial, file);
}

export const ofType = ({ resources }: Graph, type: string): Resource[] =>
  resources.filter((resource) => resource.type === type);

/** The one resource of that type and name. */
export function one(graph: Graph, type: string, name: string): Resource {
  const found = ofType(graph, type).find((resource) => resource.name === name);
  if (!found) throw new Error(`no ${type} named ${name}`);
  return found;
}
