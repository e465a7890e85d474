import { arnHere, policyOfAws } from './arn.ts';

/** Prefix of all roles, so that a deployer's policy (docs/iam) allows only these. IAM allows 38 characters. */
export const rolePrefix = () => `${$app.name}-${$app.stage}-`.slice(0, 38);

/** A role for an AWS service, with these statements or with AWS's managed policies. */
export function createRole(
  name: string,
  service: string,
  { statements, managed }: { statements?: unknown[]; managed?: string[] },
): aws.iam.Role {
  // EKS tags the sessions of a cluster's role, and of the pods' roles.
  const actions = /^(eks|pods)/.test(service) ? ['sts:AssumeRole', 'sts:TagSession'] : ['sts:AssumeRole'];
  return new aws.iam.Role(name, {
    namePrefix: rolePrefix(),
    assumeRolePolicy: trust(service, actions),
    inlinePolicies: statements && [inline(statements)],
    managedPolicyArns: managed?.map((policy) => policyOfAws('iam', policy)),
  });
}

/** Lets a service take a role, and nobody else. */
export const trust = (service: string, actions = ['sts:AssumeRole']) =>
  aws.iam.getPolicyDocumentOutput({
    statements: [{ actions, principals: [{ type: 'Service', identifiers: [service] }] }],
  }).json;

/** The only policy of a role. */
export function inline(statements: unknown[]) {
  return { name: 'inline', policy: aws.iam.getPolicyDocumentOutput({ statements: statements as any }).json };
}

/** Permissions to pull the app's images. A registry token has no narrower resource. */
export const pullsImages = () => [
  { actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
  {
    actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
    resources: [arnHere('ecr', `repository/${$app.name}/*`)],
  },
];
