/**
 * Loaded by evaluator.ts for each evaluation, bundled by evaluate.ts into `.sst/platform`. It evaluates the real
 * sst.config.ts as `sst deploy` (or `sst dev`) does, with Pulumi's mocks instead of AWS.
 */
import * as awsProvider from '@pulumi/aws';
import * as commandProvider from '@pulumi/command';
import * as dockerBuildProvider from '@pulumi/docker-build';
import * as kubernetesProvider from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';
import debuggable from '@pulumi/pulumi/runtime/debuggable.js';
import * as state from '@pulumi/pulumi/runtime/state.js';
import { run } from '../../../.sst/platform/src/auto/run.ts';
import * as components from '../../../.sst/platform/src/components/index.ts';
import { rows } from '../../../infra/stages.ts';
import config from '../../../sst.config.ts';
import type { Evaluation, Graph, Resource } from './evaluate.ts';
import { createMocks } from './mocks.ts';
import { servePlatform } from './rpc.ts';

/** Field by which Pulumi marks a value of a special kind. */
const KIND = '4dabf18193072939515e22adb298388d';
const { stage, row, answers, root, work }: Evaluation & { root: string; work: string } = JSON.parse(
  process.env.OFFLINE_EVALUATION ?? '{}',
);

Object.assign(globalThis, {
  sst: components,
  aws: awsProvider,
  command: commandProvider,
  kubernetes: kubernetesProvider,
  dockerbuild: dockerBuildProvider,
});

if (row) rows[stage] = row;
const app = await config.app({ stage });
Object.assign(globalThis, {
  $app: { ...app, removal: app.removal ?? 'retain', protect: app.protect ?? false, stage },
});

// For whoever looks for promises that nobody awaits, Pulumi records a stack of each: a third of the evaluation's time.
(debuggable as any).debuggablePromise = (promise: Promise<unknown>) => promise;

const resources = new Map<string, Resource>();
const region = app.providers?.aws?.region ?? 'us-east-1';
const platform = await servePlatform({ root, work, region });
// State of Pulumi's for this program alone, as its automation API runs several in one process. It is in no types.
const { withLocalStorage } = state as any;
const outputs = await withLocalStorage(async () => {
  await pulumi.runtime.setMocks(createMocks(region, answers), app.name, stage, false);
  record(pulumi.runtime.getMonitor());
  return pulumi.runtime.runInPulumiStack(() => run(config.run as pulumi.automation.PulumiFn));
});

/** All resources, once the event loop is empty. */
export const graph = (): Graph => ({
  app: JSON.parse(JSON.stringify(app)),
  resources: [...resources.values()].sort((a, b) => (a.type + a.name < b.type + b.name ? -1 : 1)),
  outputs: strip(outputs) as Record<string, unknown>,
  builds: platform.builds,
});

/** Records all registered resources, with options that Pulumi does not pass to mocks. */
function record(monitor: any): void {
  const registerResource = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request: any, callback: (error: Error | null, response: any) => void) => {
    registerResource(request, (error: Error | null, response: any) => {
      const inputs = request.getObject().toJavaScript();
      const resource: Resource = {
        type: request.getType(),
        name: request.getName(),
        inputs,
        secrets: Object.keys(inputs).filter((key) => isSecret(inputs[key])),
        custom: request.getCustom(),
        protect: request.getProtect(),
        retainOnDelete: request.getRetainondelete(),
        parent: request.getParent().split('::').at(-1) ?? '',
        dependsOn: request.getDependenciesList().map((urn: string) => urn.split('::').at(-1) ?? ''),
        ignoreChanges: request.getIgnorechangesList(),
        timeouts: {
          create: request.getCustomtimeouts()?.getCreate() ?? '',
          update: request.getCustomtimeouts()?.getUpdate() ?? '',
        },
      };
      resources.set(`${resource.type} ${resource.name}`, strip(resource) as Resource);
      callback(error, response);
    });
  };
  const registerOutputs = monitor.registerResourceOutputs.bind(monitor);
  monitor.registerResourceOutputs = (
    request: any,
    callback: (error: Error | null, response: any) => void,
  ) => {
    const [type, name] = request.getUrn().split('::').slice(-2);
    const resource = resources.get(`${type.split('$').at(-1)} ${name}`);
    if (resource)
      resource.outputs = strip(request.getOutputs()?.toJavaScript() ?? {}) as Record<string, unknown>;
    registerOutputs(request, callback);
  };
}

/** Whether a property is marked as a secret, as Pulumi's `resource.Secret` is. */
function isSecret(value: unknown): boolean {
  return Object(value)[KIND] === '1b47061264138c4ac30d75fd1eb44270';
}

/** Unwraps secrets, assets and outputs, which Pulumi wraps in marked objects. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== 'object' || value === null) return value;
  const fields = value as Record<string, unknown>;
  if (KIND in fields) return strip(fields.value ?? fields.path ?? fields.text ?? '');
  return Object.fromEntries(Object.entries(fields).map(([key, one]) => [key, strip(one)]));
}
