import { kafkaEnvironment } from './functions.ts';
import type { KafkaCluster } from './kafka.ts';
import { pipeline } from './settings.ts';

/** What `sst dev` starts beside the live Lambda functions; the ingest host comes from its service's own `dev`. */
export function createDevCommands({ kafka, store }: { kafka: KafkaCluster; store: sst.aws.Bucket }): void {
  new sst.x.DevCommand('Model', {
    dev: { title: 'Model', command: 'npm run model', autostart: true },
    environment: { PORT: String(pipeline.PORT) },
  });
  new sst.x.DevCommand('Camera', {
    dev: { title: 'Camera', command: 'node infra/dev-camera.ts', autostart: true },
  });
  new sst.x.DevCommand('Console', {
    dev: { title: 'Console', command: 'npm run console', autostart: true },
    environment: { ...kafkaEnvironment(kafka), S3_BUCKET: store.name },
  });
}
