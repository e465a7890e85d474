/** Common parts of all objects of the inference service, and the input for them. */

import type { Settings } from './settings.ts';
import type { Inference } from './stages.ts';

export const NAMESPACE = 'video-pipeline';
export const SERVICE = 'inference-service';
/** A second model server, while `npm run deploy -- canary` tries one. */
export const CANARY = 'inference-canary';
export const labelsOf = (name: string) => ({
  'app.kubernetes.io/name': name,
  'app.kubernetes.io/part-of': NAMESPACE,
});
export const LABELS = labelsOf(SERVICE);

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [field: string]: unknown;
}

export const metadata = (name: string) => ({ name, namespace: NAMESPACE, labels: LABELS });

/** An object in the namespace. @param kind with its API: `apps/v1 Deployment` */
export function ours(kind: string, name: string, rest: Record<string, unknown>): KubernetesObject {
  const [apiVersion = '', ofApi = ''] = kind.split(' ');
  return { apiVersion, kind: ofApi, metadata: metadata(name), ...rest };
}

export interface Manifests {
  image: string;
  canary?: { image: string; replicas: number } | undefined;
  inference: Extract<Inference, { backend: 'eks' }>;
  /** Settings of the model server. */
  settings: Settings;
  /** Security group of the internal load balancer. */
  loadBalancerGroup: string;
  /** Whether the load balancer answers each client from the client's own zone. */
  zonal?: boolean | undefined;
  /** Addresses that may call the service: the VPC. */
  clientCidr: string;
  /** For KEDA's lag trigger. */
  kafka: { bootstrapServers: string; region: string; partitions: number };
}
