import { createEks } from './eks.ts';
import { createImage } from './images.ts';
import type { InferenceTarget } from './inference-target.ts';
import type { KafkaCluster } from './kafka.ts';
import type { Network } from './network.ts';
import { createSageMaker } from './sagemaker.ts';
import { deployment } from './settings.ts';
import { modelDockerfile, type Stage } from './stages.ts';

/** The stage's inference backend. In `sst dev` it is the model server on the developer's machine, without a GPU. */
export function createInference(stage: Stage, network: Network, kafka: KafkaCluster): InferenceTarget {
  if ($dev) {
    const url = `http://127.0.0.1:${stage.settings.PORT}`;
    return {
      environment: { INFERENCE_BACKEND: 'http', INFERENCE_SERVICE_URL: url },
      permissions: [],
      allow: () => {},
      metrics: {},
    };
  }
  const { inference } = stage;
  if (deployment().MODEL_CANARY && inference.backend !== 'eks')
    throw new Error(`MODEL_CANARY is set, and stage '${stage.name}' has no EKS: a canary needs it`);
  const image = createImage('model', modelDockerfile(stage), deployment().MODEL_IMAGE, 'linux/amd64');
  return inference.backend === 'eks'
    ? createEks({ stage, inference, network, kafka, image })
    : createSageMaker({ stage, inference, network, image });
}
