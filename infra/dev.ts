import { environmentOf, MODEL_VARIABLES } from './settings.ts';
import { kafkaEnvironment, type Parts } from './stage-function.ts';

/** Commands that `sst dev` starts beside the live Lambda functions. The ingest service's own `dev` starts ingest. */
export function createDevCommands({ stage, kafka, store }: Pick<Parts, 'stage' | 'kafka' | 'store'>): void {
  new sst.x.DevCommand('Model', {
    dev: { title: 'Model', command: 'npm run model', autostart: true },
    environment: environmentOf(stage, ['PORT', ...MODEL_VARIABLES]),
  });
  new sst.x.DevCommand('Camera', {
    dev: { title: 'Camera', command: 'node infra/dev-camera.ts', autostart: true },
  });
  new sst.x.DevCommand('Console', {
    dev: { title: 'Console', command: 'npm run console', autostart: true },
    environment: { ...kafkaEnvironment(stage, kafka), S3_BUCKET: store.name },
  });
}
