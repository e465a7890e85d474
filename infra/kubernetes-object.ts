/** What every object of the inference service has. */

export const NAMESPACE = 'video-pipeline';
export const SERVICE = 'inference-service';
export const LABELS = { 'app.kubernetes.io/name': SERVICE, 'app.kubernetes.io/part-of': NAMESPACE };

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

/** Of an object in the namespace. */
export const metadata = (name: string) => ({ name, namespace: NAMESPACE, labels: LABELS });
