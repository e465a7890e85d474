import { FRAME_STAGES, groupOf, isWithin, STAGES, type StageName, topicOf } from '@video-pipeline/stages';
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

type Line =
  | { expression: string; label: string }
  | { metric: ReturnType<typeof awsMetric>; stat: string; label: string; id?: string; visible?: boolean };
const WIDTH = 24;
const HEIGHT = 5;

/** The dashboard's body: the way of a frame from top to bottom, with one row for each step. */
export function dashboardBody(names: Names): string {
  const { name: stageName, settings } = names.stage;
  const ours = (service: Service, name: MetricName, statistic: string): Line => ({
    expression: acrossStreams(stageName, service, name, statistic),
    label: `${service} ${name} ${statistic}`,
  });
  const stages = STAGES.filter(({ name }) => name in names.functions);
  const lambdas = stages.filter(({ name }) => names.functions[name]);
  const others = stages.filter(({ carriesFrames }) => !carriesFrames);
  const ofLambda = (stage: StageName, metric: 'Errors' | 'Invocations' | 'Duration') => ({
    metric: awsMetric('AWS/Lambda', metric, names.functions[stage] ?? ''),
    stat: 'Sum',
    label: `${stage} ${metric}`,
  });
  const lags = (metric: 'SumOffsetLag' | 'EstimatedMaxTimeLag') =>
    stages.map((stage) => lag(names, metric, groupOf(stage, settings), topicOf(stage, settings)));
  const rows: object[][] = [
    [
      graph(names, 'Frames in: captured, still, thinned, published, dropped (each minute)', [
        ours('ingest', 'FramesCaptured', 'Sum'),
        ours('ingest', 'FramesStill', 'Sum'),
        ours('ingest', 'FramesThinned', 'Sum'),
        ours('ingest', 'FramesPublished', 'Sum'),
        ours('ingest', 'FramesDropped', 'Sum'),
      ]),
      graph(names, 'Cameras opened again', [ours('ingest', 'Reconnects', 'Sum')]),
    ],
    [
      graph(names, 'Lag: records that wait', lags('SumOffsetLag')),
      graph(names, 'Lag: seconds behind', lags('EstimatedMaxTimeLag')),
    ],
    [
      graph(
        names,
        'Frames in a batch',
        lambdas.flatMap(({ name, carriesFrames, counts: [frames] }) =>
          carriesFrames && frames ? batchSize(stageName, name, frames, names.functions[name] ?? '') : [],
        ),
      ),
      graph(names, 'Inference time, ms', [
        ours('detect', 'InferenceTime', 'p50'),
        ours('detect', 'InferenceTime', 'p95'),
      ]),
      graph(names, 'Inference backend', backend(names)),
    ],
    [
      graph(
        names,
        'What each stage has done (each minute)',
        FRAME_STAGES.flatMap(({ name, counts }) => counts.map((count) => ours(name, count, 'Sum'))),
      ),
      graph(names, 'Capture to S3, ms', [
        ours('annotate', 'CaptureToStored', 'p50'),
        ours('annotate', 'CaptureToStored', 'p95'),
      ]),
    ],
    [
      graph(names, 'Failures', [
        ...STAGES.filter((one) => stages.includes(one) || isWithin(one, settings)).map(({ name }) =>
          ours(name, 'FramesFailed', 'Sum'),
        ),
        ...lambdas.map(({ name }) => ofLambda(name, 'Errors')),
      ]),
      graph(
        names,
        'What costs: Lambda, invocations and ms',
        lambdas.flatMap(({ name }) => [ofLambda(name, 'Invocations'), ofLambda(name, 'Duration')]),
      ),
    ],
    others.map(({ name, counts }) =>
      graph(
        names,
        `${title(name)} (each minute)`,
        counts.map((count) => ours(name, count, 'Sum')),
      ),
    ),
    ...(names.page ? [consoleRow(names, names.page)] : []),
  ];
  return JSON.stringify({ widgets: rows.flatMap(placeRow) });
}

function consoleRow(names: Names, { loadBalancer, targetGroup }: NonNullable<Names['page']>): object[] {
  const line = (name: Parameters<typeof awsMetric<'AWS/ApplicationELB'>>[1], stat: string, of: string[]) => ({
    metric: awsMetric('AWS/ApplicationELB', name, ...of),
    stat,
    label: name,
  });
  return [
    graph(names, 'Console: requests, errors, refused sign-ins', [
      line('RequestCount', 'Sum', [loadBalancer, targetGroup]),
      line('HTTPCode_Target_5XX_Count', 'Sum', [loadBalancer, targetGroup]),
      line('ELBAuthFailure', 'Sum', [loadBalancer]),
    ]),
    graph(names, 'Console: time to answer, s', [
      line('TargetResponseTime', 'p95', [loadBalancer, targetGroup]),
    ]),
  ];
}

function placeRow(widgets: object[], row: number): object[] {
  const width = Math.floor(WIDTH / widgets.length);
  return widgets.map((widget, column) => ({
    ...widget,
    x: column * width,
    y: row * HEIGHT,
    width,
    height: HEIGHT,
  }));
}

function graph({ region }: Names, title: string, lines: Line[]): object {
  return {
    type: 'metric',
    properties: {
      title,
      region,
      view: 'timeSeries',
      period: 60,
      metrics: lines.map((line, index) => {
        if ('expression' in line) return [{ ...line, id: `e${index}` }];
        const { metric, ...options } = line;
        return [metric.namespace, metric.name, ...Object.entries(metric.dimensions).flat(), options];
      }),
      yAxis: { left: { min: 0 } },
    },
  };
}

/** Frames of all streams divided by invocations. */
function batchSize(stage: string, service: Service, frames: MetricName, functionName: string): Line[] {
  const invocations = {
    metric: awsMetric('AWS/Lambda', 'Invocations', functionName),
    stat: 'Sum',
    visible: false,
  };
  return [
    { ...invocations, id: service, label: `${service} Invocations` },
    {
      expression: `SUM(${acrossStreams(stage, service, frames, 'Sum')}) / ${service}`,
      label: `${service} frames a batch`,
    },
  ];
}

function lag(
  names: Names,
  metric: 'SumOffsetLag' | 'EstimatedMaxTimeLag',
  group: string,
  topic: string,
): Line {
  return {
    metric: awsMetric('AWS/Kafka', metric, names.clusterName, group, topic),
    stat: 'Maximum',
    label: group,
  };
}

function backend({ eksCluster, endpoint }: Names): Line[] {
  if (endpoint) {
    const line = (name: 'ModelLatency' | 'Invocations' | 'Invocation5XXErrors', stat: string) => ({
      metric: awsMetric('AWS/SageMaker', name, endpoint, 'main'),
      stat,
      label: `${name} ${stat}`,
    });
    return [line('ModelLatency', 'p95'), line('Invocations', 'Sum'), line('Invocation5XXErrors', 'Sum')];
  }
  if (!eksCluster) return [];
  const line = (name: 'pod_gpu_utilization' | 'service_number_of_running_pods') => ({
    metric: awsMetric('ContainerInsights', name, eksCluster, 'video-pipeline', SERVICE),
    stat: 'Average',
    label: name,
  });
  return [line('pod_gpu_utilization'), line('service_number_of_running_pods')];
}
