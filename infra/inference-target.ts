import type { Group } from './network.ts';

/** The inference backend as detect uses it. */
export interface InferenceTarget {
  environment: Record<string, $util.Input<string>>;
  permissions: sst.aws.FunctionPermissionArgs[];
  /** Allows connections from a security group to the backend. */
  allow: (from: Group) => void;
  /** Names for the backend's metrics on the dashboard. */
  metrics: { eksCluster?: $util.Input<string>; endpoint?: $util.Input<string> };
  /** Whether a canary is deployed beside the model server in use. */
  hasCanary?: boolean;
  /** Whether on-demand nodes may replace missing spot nodes. They are counted by a metric. */
  fallsBack?: boolean;
}
