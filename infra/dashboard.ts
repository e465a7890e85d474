import { FRAME_STAGES, groupOf, isMerged, STAGES, type StageName, topicOf } from '@video-pipeline/stages';
import type { MetricName } from '@video-pipeline/telemetry';
import { SERVICE } from './kubernetes-object.ts';
import { acrossStreams, awsMetric, type Service } from './metrics.ts';
import { title } from './settings.ts';
import type { Stage } from './stages.ts';

/** Names of the resources whose metrics alarms watch. */
export interface Watched {
  stage: Pick<Stage, 'name' | 'settings'>;
  clusterName: string;
  /** Names of the Lambda functions, by stage; empty for a stage that runs as tasks. */
  functions: Record<string, string>;
  endpoint?: string | undefined;
  /** The console's load balancer, if the stage has one. */
  page?: { loadBalancer: string; targetGroup: string } | undefined;
}

/** Names of the resources whose metrics the dashboard shows. */
interface Names extends Watched {
  region: string;
  eksCluster?: string | undefined;
}

interface Graph {
  title: string;
  lines: Line[];
}

type Line =
  | { expression: string; label: string }
  | { metric: ReturnType<typeof awsMetric>; stat: string; label: string; id?: string; visible?: boolean };
const WIDTH = 24;
const HEIGHT = 5;

/** The dashboard's body: the way of a frame from top to bottom, with one row for each step. */
export function dashboardBody(names: Names): string {
  const { name: stageName, settings } = names.stage;
  const ours = (statistic: 'Sum' | 'p50' | 'p95', service: Service, ...metrics: MetricName[]): Line[] =>
    metrics.map((name) => ({
      expression: acrossStreams(stageName, service, name, statistic),
      label: `${service} ${name} ${statistic}`,
    }));
  const times = (service: Service, name: MetricName) => [
    ...ours('p50', service, name),
    ...ours('p95', service, name),
  ];
  const stages = STAGES.filter(({ name }) => name in names.functions);
  const lambdas = stages.filter(({ name }) => names.functions[name]);
  const others = stages.filter(({ carriesFrames }) => !carriesFrames);
  const ofLambda = (stage: StageName, metric: 'Errors' | 'Invocations' | 'Duration') =>
    line(awsMetric('AWS/Lambda', metric, names.functions[stage] ?? ''), 'Sum', `${stage} ${metric}`);
  const lags = (metric: 'SumOffsetLag' | 'EstimatedMaxTimeLag') =>
    stages.map((stage) => {
      const [group, topic] = [groupOf(stage, settings), topicOf(stage, settings)];
      return line(awsMetric('AWS/Kafka', metric, names.clusterName, group, topic), 'Maximum', group);
    });
  const rows: Graph[][] = [
    [
      graph('Frames in: captured, still, thinned, published, dropped (each minute)', [
        ...ours('Sum', 'ingest', 'FramesCaptured', 'FramesStill', 'FramesThinned'),
        ...ours('Sum', 'ingest', 'FramesPublished', 'FramesDropped'),
      ]),
      graph('Cameras opened again', ours('Sum', 'ingest', 'Reconnects')),
    ],
    [
      graph('Lag: records that wait', lags('SumOffsetLag')),
      graph('Lag: seconds behind', lags('EstimatedMaxTimeLag')),
    ],
    [
      graph(
        'Frames in a batch',
        lambdas.flatMap(({ name, carriesFrames, counts: [frames] }) =>
          carriesFrames && frames ? batchSize(stageName, name, frames, names.functions[name] ?? '') : [],
        ),
      ),
      graph('Inference time, ms', times('detect', 'InferenceTime')),
      graph('Inference backend', backend(names)),
    ],
    [
      graph(
        'What each stage has done (each minute)',
        FRAME_STAGES.flatMap(({ name, counts }) => ours('Sum', name, ...counts)),
      ),
      graph('Capture to S3, ms', times('annotate', 'CaptureToStored')),
    ],
    [
      graph('Failures', [
        ...STAGES.filter((one) => stages.includes(one) || isMerged(one, settings)).flatMap(({ name }) =>
          ours('Sum', name, 'FramesFailed'),
        ),
        ...lambdas.map(({ name }) => ofLambda(name, 'Errors')),
      ]),
      graph(
        'What costs: Lambda, invocations and ms',
        lambdas.flatMap(({ name }) => [ofLambda(name, 'Invocations'), ofLambda(name, 'Duration')]),
      ),
    ],
    others.map(({ name, counts }) => graph(`${title(name)} (each minute)`, ours('Sum', name, ...counts))),
    ...(names.page ? [consoleRow(names.page)] : []),
  ];
  return JSON.stringify({ widgets: rows.flatMap((row, index) => widgets(row, index, names.region)) });
}

function consoleRow({ loadBalancer, targetGroup }: NonNullable<Names['page']>): Graph[] {
  type Name = Parameters<typeof awsMetric<'AWS/ApplicationELB'>>[1];
  const ofBalancer = (name: Name, stat: string, ...of: string[]) =>
    line(awsMetric('AWS/ApplicationELB', name, loadBalancer, ...of), stat, name);
  return [
    graph('Console: requests, errors, refused sign-ins', [
      ofBalancer('RequestCount', 'Sum', targetGroup),
      ofBalancer('HTTPCode_Target_5XX_Count', 'Sum', targetGroup),
      ofBalancer('ELBAuthFailure', 'Sum'),
    ]),
    graph('Console: time to answer, s', [ofBalancer('TargetResponseTime', 'p95', targetGroup)]),
  ];
}

const graph = (title: string, lines: Line[]): Graph => ({ title, lines });

const line = (metric: ReturnType<typeof awsMetric>, stat: string, label: string) => ({ metric, stat, label });

/** The widgets of one row, side by side. */
function widgets(graphs: Graph[], row: number, region: string): object[] {
  const width = Math.floor(WIDTH / graphs.length);
  return graphs.map(({ title, lines }, column) => ({
    type: 'metric',
    x: column * width,
    y: row * HEIGHT,
    width,
    height: HEIGHT,
    properties: {
      title,
      region,
      view: 'timeSeries',
      period: 60,
      metrics: lines.map((one, index) => {
        if ('expression' in one) return [{ ...one, id: `e${index}` }];
        const { metric, ...options } = one;
        return [metric.namespace, metric.name, ...Object.entries(metric.dimensions).flat(), options];
      }),
      yAxis: { left: { min: 0 } },
    },
  }));
}

/** Frames of all streams divided by invocations. */
function batchSize(stage: string, service: Service, frames: MetricName, functionName: string): Line[] {
  const invocations = awsMetric('AWS/Lambda', 'Invocations', functionName);
  return [
    { ...line(invocations, 'Sum', `${service} Invocations`), id: service, visible: false },
    {
      expression: `SUM(${acrossStreams(stage, service, frames, 'Sum')}) / ${service}`,
      label: `${service} frames a batch`,
    },
  ];
}

function backend({ eksCluster, endpoint }: Names): Line[] {
  if (endpoint) {
    const ofEndpoint = (name: 'ModelLatency' | 'Invocations' | 'Invocation5XXErrors', stat: string) =>
      line(awsMetric('AWS/SageMaker', name, endpoint, 'main'), stat, `${name} ${stat}`);
    return [
      ofEndpoint('ModelLatency', 'p95'),
      ofEndpoint('Invocations', 'Sum'),
      ofEndpoint('Invocation5XXErrors', 'Sum'),
    ];
  }
  if (!eksCluster) return [];
  const ofPods = (name: 'pod_gpu_utilization' | 'service_number_of_running_pods') =>
    line(awsMetric('ContainerInsights', name, eksCluster, 'video-pipeline', SERVICE), 'Average', name);
  return [ofPods('pod_gpu_utilization'), ofPods('service_number_of_running_pods')];
}
