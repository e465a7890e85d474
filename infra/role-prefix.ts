/** How roles of ours begin, so that a deployer may touch no other: docs/iam. IAM takes 38 characters. */
export const rolePrefix = () => `${$app.name}-${$app.stage}-`.slice(0, 38);
