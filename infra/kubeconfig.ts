/** A kubeconfig that gets its tokens from the AWS command line, so that none is stored in the state. */
export function createKubeconfig(cluster: aws.eks.Cluster): $util.Output<string> {
  return $jsonStringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'eks',
    contexts: [{ name: 'eks', context: { cluster: 'eks', user: 'aws' } }],
    clusters: [
      {
        name: 'eks',
        cluster: {
          server: cluster.endpoint,
          'certificate-authority-data': cluster.certificateAuthority.data,
        },
      },
    ],
    users: [
      {
        name: 'aws',
        user: {
          exec: {
            apiVersion: 'client.authentication.k8s.io/v1beta1',
            command: 'aws',
            // The shell's region may differ.
            args: [
              ...['eks', 'get-token', '--cluster-name', cluster.name],
              ...['--region', aws.getRegionOutput().region, '--output', 'json'],
            ],
          },
        },
      },
    ],
  });
}
