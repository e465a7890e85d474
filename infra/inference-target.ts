import type { Group } from './network.ts';

/** Where detect sends frames, whatever serves them. */
export interface InferenceTarget {
  environment: Record<string, $util.Input<string>>;
  permissions: sst.aws.FunctionPermissionArgs[];
  /** Opens the way from a security group to the backend. */
  allow: (from: Group) => void;
  /** What a dashboard can show of it. */
  metrics: { eksCluster?: $util.Input<string>; endpoint?: $util.Input<string> };
  /** Whether a second model server is tried beside the one in use. */
  hasCanary?: boolean;
  /** Whether nodes may be rented on demand where spot has none, which is counted. */
  fallsBack?: boolean;
}
