/** Prefix of all roles, so that a deployer's policy (docs/iam) allows only these. IAM allows 38 characters. */
export const rolePrefix = () => `${$app.name}-${$app.stage}-`.slice(0, 38);
