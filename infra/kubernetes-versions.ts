/** Kubernetes version of the cluster. */
export const KUBERNETES_VERSION = '1.35';

/**
 * End of AWS's standard support for each version. After it a control plane costs six times as much.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html, as of 2026-04
 */
export const STANDARD_SUPPORT_ENDS: Record<string, string> = {
  '1.33': '2026-07-29',
  '1.34': '2026-12-02',
  '1.35': '2027-03-27',
};
