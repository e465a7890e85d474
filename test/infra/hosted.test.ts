import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { variables } from '@video-pipeline/config';
import { describe, expect, test } from 'vitest';
import { estimate, tasksPerHost } from '../../infra/costs.ts';
import { HOST_SIZES, stageOf } from '../../infra/stages.ts';
import { createServer } from '../../packages/console/src/server.ts';
import { DEPLOY_CIDR, DEPLOYED, graphOf, ofType, one } from './graphs.ts';
import { EvaluationError, evaluate, prepare } from './offline/evaluate.ts';
import { ROOT } from './offline/platform.ts';
import { hosted } from './options.ts';

describe('the hosted console on ECS', () => {
  test('is reached only by TLS and after a log-in with Cognito', async () => {
    const graph = await graphOf('hosted');
    const [listener, ...others] = ofType(graph, 'aws:lb/listener:Listener');
    expect(others).toEqual([]);
    const rules = ofType(graph, 'aws:lb/listenerRule:ListenerRule');
    // What the page asks by itself is refused after 12 hours, so that the page sees that it must sign in again.
    expect(rules.map(({ inputs }) => inputs.conditions[0].pathPattern.values)).toEqual([['/api/*']]);
    const [{ actions }] = rules.map(({ inputs }) => inputs) as [Record<string, any>];
    expect(actions.map(({ type }: { type: string }) => type)).toEqual(['authenticate-cognito', 'forward']);
    expect(actions[0].authenticateCognito.onUnauthenticatedRequest).toBe('deny');
    expect(readFileSync(join(ROOT, 'packages/console/page/dom.ts'), 'utf8')).toMatch(
      /401\) location\.reload/,
    );
    const { protocol, port, sslPolicy, certificateArn, defaultActions } = listener?.inputs ?? {};
    expect({ protocol, port }).toEqual({ protocol: 'HTTPS', port: 443 });
    expect(sslPolicy).toContain('TLS13');
    expect(certificateArn).toContain('ConsoleSsl');
    expect(defaultActions.map(({ type }: { type: string }) => type)).toEqual([
      'authenticate-cognito',
      'forward',
    ]);
    expect(defaultActions[0].authenticateCognito.onUnauthenticatedRequest).toBe('authenticate');
  });

  test('has only users that an administrator creates, each with a second factor', async () => {
    const graph = await graphOf('hosted');
    expect(one(graph, 'aws:cognito/userPool:UserPool', 'ConsoleUsers').inputs).toMatchObject({
      adminCreateUserConfig: { allowAdminCreateUserOnly: true },
      mfaConfiguration: 'ON',
    });
    expect(one(graph, 'aws:cognito/userPoolClient:UserPoolClient', 'ConsoleSignIn').inputs).toMatchObject({
      generateSecret: true,
      // A stranger is not told which users there are.
      preventUserExistenceErrors: 'ENABLED',
      allowedOauthFlows: ['code'],
      callbackUrls: ['https://cameras.example.com/oauth2/idpresponse'],
    });
  });

  test("runs in private subnets, behind a load balancer with the stage's own security group", async () => {
    const graph = await graphOf('hosted');
    const { networkConfiguration } = one(graph, 'aws:ecs/service:Service', 'ConsoleService').inputs;
    expect(networkConfiguration.assignPublicIp).toBe(false);
    for (const subnet of networkConfiguration.subnets) expect(subnet).toMatch(/^NetworkPrivateSubnet/);
    const balancer = one(graph, 'aws:lb/loadBalancer:LoadBalancer', 'ConsoleLoadBalancer').inputs;
    expect(balancer.securityGroups).toEqual(['ConsoleBalancerGroup']);
    const unused = one(graph, 'aws:ec2/securityGroup:SecurityGroup', 'ConsoleLoadBalancerSecurityGroup');
    expect(unused.inputs).toMatchObject({ ingress: [], egress: [] });
  });

  test('gets its token as a secret, may only read, and has a read-only root file system', async () => {
    const graph = await graphOf('hosted');
    const { containerDefinitions } = one(
      graph,
      'aws:ecs/taskDefinition:TaskDefinition',
      'ConsoleTask',
    ).inputs;
    const [container] = JSON.parse(containerDefinitions);
    expect(container).toMatchObject({
      readonlyRootFilesystem: true,
      linuxParameters: { capabilities: { drop: ['ALL'] } },
    });
    // No version: a task that starts gets the newest token, whoever changed it.
    const valueFrom =
      'arn:aws:secretsmanager:us-east-1:123456789012:secret:video-pipeline/hosted/console/token-AbCdEf';
    expect(container.secrets).toEqual([{ name: 'CONSOLE_TOKEN', valueFrom }]);
    const given: { name: string; value: string }[] = container.environment;
    const ours = given.filter(({ name }) => !name.startsWith('SST_'));
    for (const { name, value } of ours) {
      expect(variables[name as keyof typeof variables].safeParse(value).success, name).toBe(true);
    }
    expect(Object.fromEntries(ours.map(({ name, value }) => [name, value]))).toMatchObject({
      KAFKA_AUTH: 'iam',
      HOST: '0.0.0.0',
      CONSOLE_PORT: '8080',
    });
    // Addresses of cameras hold passwords.
    expect(containerDefinitions).not.toContain('rtsp://');
  });

  /** @see https://github.com/heroku/buildpacks-nodejs/issues/220: without its limit a container sees the host's memory */
  test('and every other ECS task have a read-only root, no capabilities, no terminal, and a memory limit', async () => {
    for (const stage of ['hosted', 'staging', 'thrifty'] as const) {
      const tasks = ofType(await graphOf(stage), 'aws:ecs/taskDefinition:TaskDefinition');
      expect(tasks.length).toBeGreaterThan(0);
      for (const { inputs } of tasks)
        for (const container of JSON.parse(inputs.containerDefinitions)) {
          expect(container, container.name).toMatchObject({
            // Where stdout is a terminal, no metrics are written (emf.ts): each camera would seem silent.
            pseudoTerminal: false,
            readonlyRootFilesystem: true,
            linuxParameters: { capabilities: { drop: ['ALL'] } },
            memory: Number(inputs.memory),
          });
        }
    }
  });

  test('has a health check on a port and path that need no token', async () => {
    const graph = await graphOf('hosted');
    const [target] = ofType(graph, 'aws:lb/targetGroup:TargetGroup');
    expect(target?.inputs).toMatchObject({ port: 8080, protocol: 'HTTP', healthCheck: { path: '/health' } });
    const guard = readFileSync(join(ROOT, 'packages/console/src/guard.ts'), 'utf8');
    expect(guard).toMatch(/route === '\/health'\) return undefined/);
    expect(existsSync(join(ROOT, 'packages/console/Dockerfile'))).toBe(true);
  });

  test('has an alarm and a row of the dashboard', async () => {
    const graph = await graphOf('hosted');
    const alarm = one(graph, 'aws:cloudwatch/metricAlarm:MetricAlarm', 'Alarm-ConsoleDown').inputs;
    expect(alarm.dimensions).toEqual({
      LoadBalancer: 'app/ConsoleLoadBalancer/0',
      TargetGroup: 'ConsoleTargetConsoleHTTP8080',
    });
    expect(ofType(graph, 'aws:cloudwatch/dashboard:Dashboard')[0]?.inputs.dashboardBody).toContain(
      'ELBAuthFailure',
    );
  });

  test('with allowedCidrs of 0.0.0.0/0 is rejected', async () => {
    await prepare();
    const row = {
      ...hosted,
      console: { domain: 'cameras.example.com', allowedCidrs: ['0.0.0.0/0'] as const },
    };
    const env = { DEPLOY_CIDRS: DEPLOY_CIDR, CAMERAS_FILE: 'test/infra/cameras.yaml' };
    const opened = evaluate({ stage: 'opened', row, env });
    await expect(opened).rejects.toThrow(EvaluationError);
    await expect(opened).rejects.toThrow(
      /console\.allowedCidrs must name who may reach the console, not everyone/,
    );
  });

  test('is deployed only in a stage with the option console', async () => {
    for (const deployed of DEPLOYED.filter((name) => name !== 'hosted')) {
      expect(ofType(await graphOf(deployed), 'aws:lb/loadBalancer:LoadBalancer'), deployed).toEqual([]);
    }
  });
});

describe('ingest on EC2 instances', () => {
  test("runs on instances without ingress rules, with IMDSv2, encrypted volumes and AWS's latest ECS image", async () => {
    const template = one(
      await graphOf('hosted'),
      'aws:ec2/launchTemplate:LaunchTemplate',
      'IngestHosts',
    ).inputs;
    expect(template.imageId).toMatch(/^resolve:ssm:\/aws\/service\/ecs\/optimized-ami\/.*\/arm64\//);
    expect(template.metadataOptions).toMatchObject({ httpTokens: 'required', httpPutResponseHopLimit: 1 });
    expect(template.blockDeviceMappings[0].ebs.encrypted).toBe('true');
    expect(template.vpcSecurityGroupIds).toEqual(['IngestHostsGroup']);
    expect(template.keyName).toBeUndefined();
    const userData = Buffer.from(template.userData, 'base64').toString();
    expect(userData).toContain('ECS_CLUSTER=video-pipeline-hosted-ingest\n');
    expect(userData).toContain('ECS_AWSVPC_BLOCK_IMDS=true\n');
  });

  test('is scaled by ECS, which ends no instance that still runs a task', async () => {
    const graph = await graphOf('hosted');
    const provider = one(graph, 'aws:ecs/capacityProvider:CapacityProvider', 'IngestHosts').inputs;
    expect(provider.autoScalingGroupProvider).toMatchObject({
      managedScaling: { status: 'ENABLED' },
      managedTerminationProtection: 'ENABLED',
      managedDraining: 'ENABLED',
    });
    // ECS refuses termination protection without it.
    const group = one(graph, 'aws:autoscaling/group:Group', 'IngestHosts').inputs;
    expect(group).toMatchObject({ protectFromScaleIn: true, minSize: 0, maxSize: 4 });
    const tags = Object.fromEntries(group.tags.map((tag: any) => [tag.key, tag]));
    expect(tags.stage).toEqual({ key: 'stage', value: 'hosted', propagateAtLaunch: true });
    const providers = one(
      graph,
      'aws:ecs/clusterCapacityProviders:ClusterCapacityProviders',
      'IngestClusterCapacityProviders',
    ).inputs;
    expect(providers.capacityProviders).toContain(provider.name);
  });

  test('runs each ingest task on these instances, with its own network interface and security group', async () => {
    const graph = await graphOf('hosted');
    const services = ofType(graph, 'aws:ecs/service:Service').filter(({ name }) => /^Ingest\d/.test(name));
    expect(services.length).toBeGreaterThan(0);
    for (const { name, inputs } of services) {
      expect(inputs.launchType, name).toBeUndefined();
      expect(inputs.capacityProviderStrategies).toEqual([
        { capacityProvider: 'video-pipeline-hosted-ingest', weight: 1 },
      ]);
      expect(inputs.networkConfiguration).toMatchObject({
        assignPublicIp: false,
        securityGroups: ['IngestGroup'],
      });
      const task = one(
        graph,
        'aws:ecs/taskDefinition:TaskDefinition',
        name.replace('Service', 'Task'),
      ).inputs;
      expect(task).toMatchObject({ requiresCompatibilities: ['EC2'], networkMode: 'awsvpc' });
    }
  });

  test('has VPC endpoints for ECS, its agent and its telemetry', async () => {
    const names = ofType(await graphOf('hosted'), 'aws:ec2/vpcEndpoint:VpcEndpoint').map(
      ({ inputs }) => inputs.serviceName,
    );
    for (const service of ['ecs', 'ecs-agent', 'ecs-telemetry']) {
      expect(names).toContain(`com.amazonaws.us-east-1.${service}`);
    }
  });

  test('has room for at least one task on each supported instance type', () => {
    for (const instance of Object.keys(HOST_SIZES) as (keyof typeof HOST_SIZES)[]) {
      expect(tasksPerHost(hosted.ingest, instance), instance).toBeGreaterThanOrEqual(1);
    }
    expect(tasksPerHost(hosted.ingest, 'm7g.xlarge')).toBe(2);
  });
});

test('the cost estimate includes the price of ingest on EC2 and of the console', () => {
  const { items } = estimate(stageOf('hosted'));
  const usd = Object.fromEntries(items.map((one) => [one.item, one.usd]));
  // One m7g.xlarge for two tasks; a load balancer with three addresses and half a vCPU.
  expect(usd['ingest (ec2)']).toBeCloseTo(0.1632 * 730, 5);
  expect(usd.console).toBeCloseTo((0.0305 + 3 * 0.005 + 0.01975) * 730, 5);
  // A t4g.nano with an address. A personal stage's bastion is its NAT instance.
  expect(usd['bastion of the tunnel']).toBeCloseTo((0.0042 + 0.005) * 730, 5);
  expect(estimate(stageOf('alice')).items.map(({ item }) => item)).not.toContain('bastion of the tunnel');
});

test("the console's keep-alive timeout is longer than the idle timeout of its load balancer", async () => {
  const { idleTimeout } = one(
    await graphOf('hosted'),
    'aws:lb/loadBalancer:LoadBalancer',
    'ConsoleLoadBalancer',
  ).inputs;
  const { server } = createServer('', () => {});
  expect(server.keepAliveTimeout).toBeGreaterThan(idleTimeout * 1000);
});
