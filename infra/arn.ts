/** The partition of the region: `aws`, `aws-cn` or `aws-us-gov`. */
const partition = () => aws.getPartitionOutput().partition;

/** ARN of a resource in the account and region of the deploy. */
export function arnHere(service: string, resource: $util.Input<string>): $util.Output<string> {
  const { region } = aws.getRegionOutput();
  return $interpolate`arn:${partition()}:${service}:${region}:${aws.getCallerIdentityOutput().accountId}:${resource}`;
}

/** ARN of a policy that AWS manages: of an IAM role (`iam`), or of access to an EKS cluster (`eks`). */
export const policyOfAws = (service: 'iam' | 'eks', policy: string): $util.Output<string> =>
  $interpolate`arn:${partition()}:${service}::aws:${service === 'iam' ? 'policy' : 'cluster-access-policy'}/${policy}`;
