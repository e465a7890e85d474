/// <reference path="./.sst/platform/config.d.ts" />

export default $config({
  async app(input) {
    const { stageOf } = await import('./infra/stages.ts');
    const { deployment } = await import('./infra/settings.ts');
    const { removal, protect, tags } = stageOf(input.stage);
    const { AWS_REGION } = deployment();
    return {
      name: 'video-pipeline',
      home: 'aws',
      removal,
      protect,
      // Otherwise each deploy writes a file of types beside every package.json, and the next one builds all images anew.
      types: { ignore: ['.'] },
      providers: {
        // The region of everything: state, images and resources.
        aws: { version: '7.24.0', region: AWS_REGION, defaultTags: { tags } },
        kubernetes: '4.24.1',
        'docker-build': '0.0.14',
        command: '1.0.1',
      },
    };
  },
  async run() {
    const { stageOf } = await import('./infra/stages.ts');
    const { camerasOf } = await import('./infra/cameras.ts');
    const { createNetwork } = await import('./infra/network.ts');
    const { createKafka } = await import('./infra/kafka.ts');
    const { createStore, createStreamList } = await import('./infra/storage.ts');
    const { createInference } = await import('./infra/inference.ts');
    const { createFunctions } = await import('./infra/functions.ts');
    const { createIngest } = await import('./infra/ingest.ts');
    const { createCompactor } = await import('./infra/compact.ts');
    const { createConsole } = await import('./infra/console.ts');
    const { createObservation } = await import('./infra/observe.ts');
    const { createDevCommands } = await import('./infra/dev.ts');

    const stage = stageOf($app.stage);
    const cameras = camerasOf(stage);
    const network = createNetwork(stage, cameras);
    const kafka = createKafka(stage, network);
    const store = createStore(stage);
    const list = createStreamList(store, cameras);
    const inference = createInference(stage, network, kafka);
    const functions = createFunctions({ stage, network, kafka, store, inference, list });
    const compactor = createCompactor({ stage, network, store });
    const ingest = createIngest({ stage, network, kafka }, cameras);
    const page = createConsole({ stage, network, kafka, store, functions, list });
    const dashboard = createObservation({
      stage,
      kafka,
      functions,
      compactor,
      ingest,
      inference,
      store,
      page,
    });
    if ($dev) createDevCommands({ stage, kafka, store });

    return {
      stage: $app.stage,
      bucket: store.name,
      kafka: kafka.bootstrapServers,
      inference: inference.environment.INFERENCE_SERVICE_URL ?? inference.environment.SAGEMAKER_ENDPOINT_NAME,
      dashboard,
      console: page?.url,
    };
  },
});
