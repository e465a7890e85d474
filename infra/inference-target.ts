import type { Group } from './network.ts';

/** Where detect sends frames, whatever serves them. */
export interface InferenceTarget {
  environment: Record<string, $util.Input<string>>;
  permissions: sst.aws.FunctionPermissionArgs[];
  /** Opens the way from a security group to the backend. */
  allow: (from: Group) => void;
  /** What a dashboard can show of it. */
  metrics: { eksCluster?: $util.Input<string>; endpoint?: $util.Input<string> };
}
