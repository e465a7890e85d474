import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { DEPLOYED, graphOf, ofType } from '../infra/graphs.ts';
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

async function findings(policies: [name: string, document: unknown][]): Promise<string[][]> {
  const python = join(await engines(), 'python');
  const child = spawn(python, ['-W', 'ignore', '-c', ANALYSE], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(policies));
  return JSON.parse(Buffer.concat(await Array.fromAsync(child.stdout)).toString());
}

/** Lambda makes interfaces in a VPC in the function's name, and AWS's own policy for it has no narrower resource. */
const isKnown = ([, issue, detail = '']: string[]) =>
  issue === 'RESOURCE_STAR' && detail.includes('ec2:CreateNetworkInterface');
/** SST's live bridge, of personal stages in `sst dev` alone. */
const isLive = (policy: string) => policy.includes('appsync:*');

describe.skipIf(!(await hasPython()))(
  'parliament, which knows every action of AWS with its resources',
  () => {
    beforeAll(async () => void (await engines()), 1_800_000);

    test.each(DEPLOYED)('finds nothing in the policies of %s', async (deployed) => {
      const policies = ofType(await graphOf(deployed), 'aws:iam/role:Role').flatMap(({ name, inputs }) =>
        (inputs.inlinePolicies ?? [])
          .filter(({ policy }: { policy: string }) => !isLive(policy))
          .map(({ policy }: { policy: string }) => [name, JSON.parse(policy)]),
      );
      if (deployed !== 'dev') expect(policies.length).toBeGreaterThan(3);
      expect((await findings(policies)).filter((finding) => !isKnown(finding))).toEqual([]);
    });

    test.each([
      ['an action that AWS has not', 's3:PutObjects', 'arn:aws:s3:::store/*', 'UNKNOWN_ACTION'],
      ['a resource of another kind', 's3:PutObject', 'arn:aws:s3:::store', 'RESOURCE_MISMATCH'],
    ])('would find %s', async (_, Action, Resource, issue) => {
      const document = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource }] };
      expect((await findings([['wrong', document]])).map(([, found]) => found)).toContain(issue);
    });
  },
);
