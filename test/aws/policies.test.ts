import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { DEPLOYED, graphOf, ofType } from '../infra/graphs.ts';
import { ROOT } from '../infra/offline/platform.ts';
import { POLICIES } from '../infra/rights.ts';
import { engines, hasPython } from './python.ts';

/** Reads `[[name, document]]`, writes what parliament finds: `[[name, issue, detail]]`. */
const ANALYSE = `
import json, sys
from parliament import analyze_policy_string
found = []
for name, document in json.load(sys.stdin):
    policy = analyze_policy_string(json.dumps(document))
    found += [[name, finding.issue, str(finding.detail)[:300]] for finding in policy.findings]
json.dump(found, sys.stdout)
`;

/** Reads a list of actions, writes those that AWS asks for beside them: `[[asked, by]]`. */
const DEPENDENT = `
import json, os, sys, parliament
with open(os.path.join(os.path.dirname(parliament.__file__), 'iam_definition.json')) as file:
    services = json.load(file)
given = set(json.load(sys.stdin))
json.dump([
    [asked, service['prefix'] + ':' + privilege['privilege']]
    for service in services
    for privilege in service['privileges']
    if service['prefix'] + ':' + privilege['privilege'] in given
    for resource in privilege['resource_types']
    for asked in resource.get('dependent_actions', [])
    if asked not in given
], sys.stdout)
`;

async function python(script: string, input: unknown): Promise<string[][]> {
  const program = join(await engines(), 'python');
  const child = spawn(program, ['-W', 'ignore', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(input));
  return JSON.parse(Buffer.concat(await Array.fromAsync(child.stdout)).toString());
}

const findings = (policies: [name: string, document: unknown][]) => python(ANALYSE, policies);

/** Lambda makes interfaces in a VPC in the function's name, and AWS's own policy for it has no narrower resource. */
const isKnown = ([, issue, detail = '']: string[]) =>
  issue === 'RESOURCE_STAR' && detail.includes('ec2:CreateNetworkInterface');
/** Newer than what parliament knows: topics of MSK, which botocore has, and the right to have an EKS log delivered. */
const NEWER = [
  'eks:AllowVendedLogDeliveryForResource',
  ...['Create', 'Delete', 'Describe', 'Update'].map((verb) => `kafka:${verb}Topic`),
];
/** What a deploy role can't do without, as docs/deploy.md says: most services know no name before a resource is there. */
const DEPLOYS = ['RESOURCE_STAR'];
/** SST's live bridge, of personal stages in `sst dev` alone. */
const isLive = (policy: string) => policy.includes('appsync:*');

describe.skipIf(!(await hasPython()))('parliament, a checker of IAM policies,', () => {
  beforeAll(async () => void (await engines()), 1_800_000);

  test.each([...DEPLOYED, 'canary'] as const)('reports nothing for the policies of %s', async (deployed) => {
    const policies = ofType(await graphOf(deployed), 'aws:iam/role:Role').flatMap(({ name, inputs }) =>
      (inputs.inlinePolicies ?? [])
        .filter(({ policy }: { policy: string }) => !isLive(policy))
        .map(({ policy }: { policy: string }) => [name, JSON.parse(policy)]),
    );
    if (deployed !== 'dev') expect(policies.length).toBeGreaterThan(3);
    expect((await findings(policies)).filter((finding) => !isKnown(finding))).toEqual([]);
  });

  test.each(Object.keys(POLICIES))(
    'reports for docs/iam/%s.json only findings that are accepted',
    async (name) => {
      const document = JSON.parse(readFileSync(join(ROOT, `docs/iam/${name}.json`), 'utf8'));
      // parliament goes no further in a statement with an action that it does not know.
      for (const statement of document.Statement)
        statement.Action = statement.Action.filter((action: string) => !NEWER.includes(action));
      const found = (await findings([[name, document]])).filter(([, issue = '']) => !DEPLOYS.includes(issue));
      expect(found).toEqual([]);
    },
  );

  test('reports no action that AWS requires beside another one and that is missing', async () => {
    const documents = Object.keys(POLICIES).map((name) =>
      readFileSync(join(ROOT, `docs/iam/${name}.json`), 'utf8'),
    );
    const actions = documents.flatMap((text) =>
      JSON.parse(text).Statement.flatMap(({ Action }: { Action: string[] }) => Action),
    );
    const missing = await python(DEPENDENT, actions);
    // Service Quotas asks each service for its own limits, of which none are read; no cluster's key is changed.
    const unused = ['servicequotas:ListServiceQuotas', 'kafka:UpdateSecurity'];
    expect(missing.filter(([, by = '']) => !unused.includes(by))).toEqual([]);
  });

  test.each([
    ['an action that AWS does not have', 's3:PutObjects', 'arn:aws:s3:::store/*', 'UNKNOWN_ACTION'],
    ['a resource of another kind', 's3:PutObject', 'arn:aws:s3:::store', 'RESOURCE_MISMATCH'],
  ])('reports %s', async (_, Action, Resource, issue) => {
    const document = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource }] };
    expect((await findings([['wrong', document]])).map(([, found]) => found)).toContain(issue);
  });
});
