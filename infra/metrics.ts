import type { StageName } from '@video-pipeline/stages';
import { type MetricName, NAMESPACE } from '@video-pipeline/telemetry';

/**
 * AWS's own metrics that the dashboard and the alarms use, with their dimensions.
 * @see https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html
 * @see https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html
 * @see https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
 * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-enhanced-EKS.html
 */
export const awsMetrics = {
  'AWS/Kafka': {
    dimensions: ['Cluster Name', 'Consumer Group', 'Topic'],
    names: ['SumOffsetLag', 'EstimatedMaxTimeLag'],
  },
  'AWS/Lambda': {
    dimensions: ['FunctionName'],
    names: ['Errors', 'Duration', 'Invocations'],
  },
  'AWS/S3': { dimensions: ['BucketName', 'FilterId'], names: ['PutRequests'] },
  'AWS/SageMaker': {
    dimensions: ['EndpointName', 'VariantName'],
    names: ['Invocation5XXErrors', 'ModelLatency', 'Invocations'],
  },
  'AWS/ApplicationELB': {
    dimensions: ['LoadBalancer', 'TargetGroup'],
    names: [
      'ELBAuthFailure',
      'HTTPCode_Target_5XX_Count',
      'HealthyHostCount',
      'RequestCount',
      'TargetResponseTime',
    ],
  },
  ContainerInsights: {
    dimensions: ['ClusterName', 'Namespace', 'Service'],
    names: ['pod_gpu_utilization', 'service_number_of_running_pods'],
  },
} as const;

type AwsNamespace = keyof typeof awsMetrics;
type AwsMetricName<Namespace extends AwsNamespace> = (typeof awsMetrics)[Namespace]['names'][number];

/** Writer of a metric: the value of the dimension `service`. */
export type Service = 'ingest' | StageName;

/** Metric, without dimensions: on-demand GPU nodes that a spot pool started, counted in Karpenter's log. */
export const ON_DEMAND_NODES = 'OnDemandNodes';

/** CloudWatch namespace of a stage's metrics. Each stage has its own. */
export const namespaceOf = (stage: string) => `${NAMESPACE}/${stage}`;

/** Environment by which a process knows its metrics namespace. */
export const metricsEnvironment = ({ name }: { name: string }) => ({ METRICS_NAMESPACE: namespaceOf(name) });

/** One of the pipeline's metrics over all streams, as a CloudWatch search expression. */
export function acrossStreams(stage: string, service: Service, name: MetricName, statistic: string): string {
  return `SEARCH('{"${namespaceOf(stage)}",service,stream} MetricName="${name}" service="${service}"', '${statistic}', 60)`;
}

/** One of AWS's metrics. @param values those of its dimensions, in their order */
export function awsMetric<Namespace extends AwsNamespace>(
  namespace: Namespace,
  name: AwsMetricName<Namespace>,
  ...values: string[]
) {
  const keys: readonly string[] = awsMetrics[namespace].dimensions;
  const dimensions: Record<string, string> = Object.fromEntries(values.map((value, at) => [keys[at], value]));
  return { namespace, name, dimensions };
}

/** The first of these log groups: as many as a query of Logs Insights searches. */
export const searched = <Name>(groups: Name[]): Name[] => groups.slice(0, 50);
