import { expect, test } from 'vitest';
import { quotasOf } from '../../infra/quotas.ts';
import { stageOf } from '../../infra/stages.ts';
import { expectGenerated } from '../support/generated.ts';
import { graphOf, ofType, one } from './graphs.ts';

const NAMES = ['production', 'staging', 'personal'] as const;
const CAMERAS = { production: 20, staging: 1, personal: 1 };
const quotas = (name: (typeof NAMES)[number]) => quotasOf(stageOf(name), CAMERAS[name]);
const need = (name: (typeof NAMES)[number], quota: string) =>
  quotas(name).find((one) => one.name === quota)?.need ?? 0;

const RULES = 'Inbound or outbound rules per security group';

test('security group rules for cameras of many sites are counted, and exceed the default quota', () => {
  const stage = stageOf('production');
  const cameraCidrs = Array.from({ length: 30 }, (_, site) => `10.${64 + site}.0.0/16`);
  const sites = { ...stage, ingest: { ...stage.ingest, cameraCidrs } };
  const camera = { id: 'gate', url: 'rtsp://10.64.0.1:5540/' };
  const rules = (list: (typeof camera)[]) => quotasOf(sites, 1000, list).find(({ name }) => name === RULES);
  expect(rules([])).toMatchObject({ code: 'L-0EA8095F', usual: 60, need: 2 * 30 + 5 });
  expect(rules([camera])).toMatchObject({ need: 3 * 30 + 5 });
});

test.each(NAMES)('the computed need of %s for each quota equals that of its resources', async (name) => {
  const graph = await graphOf(name);
  expect(need(name, 'EC2-VPC Elastic IPs')).toBe(ofType(graph, 'aws:ec2/eip:Eip').length);
  expect(need(name, 'VPCs per Region')).toBe(ofType(graph, 'aws:ec2/vpc:Vpc').length);
  const reserved = ofType(graph, 'aws:lambda/function:Function').map(
    ({ inputs }) => inputs.reservedConcurrentExecutions,
  );
  expect(need(name, 'Concurrent executions')).toBe(reserved.reduce((sum, one) => sum + one, 0));
  const outbound = ofType(graph, 'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule');
  const ofGroups = Map.groupBy(outbound, ({ inputs }) => inputs.securityGroupId).values();
  const most = Math.max(...Array.from(ofGroups, (rules) => rules.length));
  expect(most).toBeLessThanOrEqual(need(name, RULES));
  const pools = ofType(graph, 'kubernetes:karpenter.sh/v1:NodePool');
  const gpus = pools.reduce((sum, { inputs }) => sum + Number(inputs.spec.limits['nvidia.com/gpu']), 0);
  const vcpus = ['Running On-Demand G and VT instances', 'All G and VT Spot Instance Requests'].map((quota) =>
    need(name, quota),
  );
  expect(Math.max(...vcpus)).toBe(4 * gpus);
  const natVcpus = 2 * ofType(graph, 'aws:ec2/instance:Instance').length;
  const standard = need(name, 'Running On-Demand Standard instances');
  // Auto Mode starts nodes for KEDA and the add-ons too.
  if (pools.length === 0) expect(standard).toBe(natVcpus);
  else expect(standard).toBeGreaterThan(natVcpus);
});

test('for a SageMaker endpoint on GPUs, the instances that an update adds are counted, too', async () => {
  const { inputs } = one(await graphOf('hosted'), 'aws:appautoscaling/target:Target', 'InferenceInstances');
  expect(quotasOf(stageOf('hosted'), 10)).toContainEqual(
    expect.objectContaining({
      name: 'ml.g6.xlarge for endpoint usage',
      code: 'L-D470D954',
      need: 2 * inputs.maxCapacity,
    }),
  );
  const hosts = quotasOf(stageOf('hosted'), 10).find(({ code }) => code === 'L-1216C47A');
  // Four m7g.xlarge, and the bastion.
  expect(hosts?.need).toBe(18);
});

test('three stages together need more Elastic IPs than a new account has', () => {
  const addresses = NAMES.map((name) => need(name, 'EC2-VPC Elastic IPs'));
  expect(addresses).toEqual([3, 2, 2]);
});

test('docs/deploy.md has the table of quotas', () => {
  const all = [...new Map(NAMES.flatMap(quotas).map((one) => [one.name, one])).values()];
  const rows = all.map(
    ({ name, code, usual }) =>
      `  | ${name} | \`${code}\` | ${usual} | ${NAMES.map((stage) => need(stage, name) || '-').join(' | ')} |`,
  );
  const table = [
    '  | quota | code | usual | production | staging | personal |',
    '  | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ];
  expectGenerated('docs/deploy.md', 'quotas', table.join('\n'));
});
