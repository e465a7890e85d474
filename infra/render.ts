import { Command } from 'commander';
import { stringify } from 'yaml';
import { manifests } from './kubernetes.ts';
import { VPC_CIDR } from './settings.ts';
import { stageOf } from './stages.ts';

new Command('npm run k8s:render --')
  .description(
    'Write the Kubernetes objects as YAML, for clusters without SST: npm run -s k8s:render > inference.yaml',
  )
  .requiredOption('--image <reference>', "the model server's image")
  .option('--stage <name>', 'stage whose sizes are used', 'production')
  .option('--load-balancer-group <sg-...>', 'security group of the internal load balancer', 'sg-REPLACE-ME')
  .option('--bootstrap-servers <list>', "Kafka's brokers, for KEDA", 'REPLACE-ME:9098')
  .option('--region <name>', 'AWS region', 'us-east-1')
  .option('--autoscaler <keda|hpa>', 'what scales the pods', 'keda')
  .action((options) => {
    const { inference, kafka, network, settings } = stageOf(options.stage);
    if (inference.backend !== 'eks') throw new Error(`stage '${options.stage}' has no EKS`);
    const objects = manifests({
      image: options.image,
      inference: { ...inference, autoscaler: options.autoscaler },
      settings,
      loadBalancerGroup: options.loadBalancerGroup,
      zonal: network.zonal,
      clientCidr: VPC_CIDR,
      kafka: {
        bootstrapServers: options.bootstrapServers,
        region: options.region,
        partitions: kafka.partitions,
      },
    });
    process.stdout.write(objects.map((object) => stringify(object)).join('---\n'));
  })
  .parse();
