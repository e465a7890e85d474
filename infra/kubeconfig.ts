/** A kubeconfig that gets its tokens from the AWS command line, so that none is stored in the state. */
export function createKubeconfig({ endpoint, certificateAuthority, name }: aws.eks.Cluster) {
  // The shell's region may differ.
  const { region } = aws.getRegionOutput();
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1beta1',
    command: 'aws',
    args: ['eks', 'get-token', '--cluster-name', name, '--region', region, '--output', 'json'],
  };
  return $jsonStringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'eks',
    contexts: [{ name: 'eks', context: { cluster: 'eks', user: 'aws' } }],
    clusters: [
      {
        name: 'eks',
        cluster: { server: endpoint, 'certificate-authority-data': certificateAuthority.data },
      },
    ],
    users: [{ name: 'aws', user: { exec } }],
  });
}
