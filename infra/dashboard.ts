import type { MetricName } from '@video-pipeline/telemetry';
import { SERVICE } from './kubernetes-object.ts';
import { acrossStreams, awsMetric, type Service } from './metrics.ts';
import { ANNOTATE_GROUP, pipeline } from './settings.ts';

/** Names that the dashboard's metrics are found by. */
export interface Names {
  region: string;
  stage: string;
  clusterName: string;
  detect: string;
  annotate: string;
  notify: string;
  /** Where the stage makes clips of events. */
  clip?: string | undefined;
  eksCluster?: string | undefined;
  endpoint?: string | undefined;
  /** The console's load balancer, where the stage has one. */
  page?: { loadBalancer: string; targetGroup: string } | undefined;
}

type Line =
  | { expression: string; label: string }
  | { metric: string[]; stat: string; label: string; id?: string; visible?: boolean };
const WIDTH = 24;
const HEIGHT = 5;

/** The dashboard's body: the flow of a frame, top to bottom, one row a step. */
export function dashboardBody(names: Names): string {
  const rows: object[][] = [
    [
      graph(names, 'Frames in: captured, still, published, dropped (each minute)', [
        ours('ingest', 'FramesCaptured', 'Sum'),
        ours('ingest', 'FramesStill', 'Sum'),
        ours('ingest', 'FramesPublished', 'Sum'),
        ours('ingest', 'FramesDropped', 'Sum'),
      ]),
      graph(names, 'Cameras opened again', [ours('ingest', 'Reconnects', 'Sum')]),
    ],
    [
      graph(names, 'Lag: records that wait', [
        lag(names, 'SumOffsetLag', pipeline.KAFKA_GROUP_ID, pipeline.KAFKA_TOPIC),
        lag(names, 'SumOffsetLag', ANNOTATE_GROUP, pipeline.KAFKA_DETECTIONS_TOPIC),
      ]),
      graph(names, 'Lag: seconds behind', [
        lag(names, 'EstimatedMaxTimeLag', pipeline.KAFKA_GROUP_ID, pipeline.KAFKA_TOPIC),
        lag(names, 'EstimatedMaxTimeLag', ANNOTATE_GROUP, pipeline.KAFKA_DETECTIONS_TOPIC),
      ]),
    ],
    [
      graph(names, 'Frames in a batch', [
        ...batchSize('detect', 'FramesDetected', names.detect),
        ...batchSize('annotate', 'FramesAnnotated', names.annotate),
      ]),
      graph(names, 'Inference time, ms', [
        ours('detect', 'InferenceTime', 'p50'),
        ours('detect', 'InferenceTime', 'p95'),
      ]),
      graph(names, 'Inference backend', backend(names)),
    ],
    [
      graph(names, 'Frames detected and annotated (each minute)', [
        ours('detect', 'FramesDetected', 'Sum'),
        ours('annotate', 'FramesAnnotated', 'Sum'),
      ]),
      graph(names, 'Objects seen (each minute)', [ours('detect', 'Detections', 'Sum')]),
      graph(names, 'Capture to S3, ms', [
        ours('annotate', 'CaptureToStored', 'p50'),
        ours('annotate', 'CaptureToStored', 'p95'),
      ]),
    ],
    [
      graph(names, 'Failures', [
        ours('detect', 'FramesFailed', 'Sum'),
        ours('annotate', 'FramesFailed', 'Sum'),
        ours('notify', 'FramesFailed', 'Sum'),
        { metric: awsMetric('AWS/Lambda', 'Errors', names.detect), stat: 'Sum', label: 'detect errors' },
        { metric: awsMetric('AWS/Lambda', 'Errors', names.annotate), stat: 'Sum', label: 'annotate errors' },
        { metric: awsMetric('AWS/Lambda', 'Errors', names.notify), stat: 'Sum', label: 'notify errors' },
      ]),
      graph(names, 'What costs: Lambda, invocations and ms', [
        ...(['Invocations', 'Duration'] as const).flatMap((name) => [
          { metric: awsMetric('AWS/Lambda', name, names.detect), stat: 'Sum', label: `detect ${name}` },
          { metric: awsMetric('AWS/Lambda', name, names.annotate), stat: 'Sum', label: `annotate ${name}` },
        ]),
      ]),
    ],
    ...(names.clip ? [clipRow(names, names.clip)] : []),
    ...(names.page ? [consoleRow(names, names.page)] : []),
  ];
  return JSON.stringify({ widgets: rows.flatMap(placeRow) });
}

function clipRow(names: Names, functionName: string): object[] {
  return [
    graph(names, 'Clips of events (each minute)', [
      ours('clip', 'ClipsStored', 'Sum'),
      ours('clip', 'ClipsMissing', 'Sum'),
      ours('clip', 'FramesFailed', 'Sum'),
      { metric: awsMetric('AWS/Lambda', 'Errors', functionName), stat: 'Sum', label: 'clip errors' },
    ]),
    graph(names, 'Clips: ms of the function', [
      { metric: awsMetric('AWS/Lambda', 'Duration', functionName), stat: 'Sum', label: 'clip Duration' },
    ]),
  ];
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

function graph({ region, stage }: Names, title: string, lines: Line[]): object {
  return {
    type: 'metric',
    properties: {
      title,
      region,
      view: 'timeSeries',
      period: 60,
      metrics: lines.map((line, index) =>
        'metric' in line ? withOptions(line) : [{ ...line, id: `e${index}` }],
      ),
      yAxis: { left: { min: 0 } },
      annotations: { horizontal: [] },
      liveData: stage !== 'production',
    },
  };
}

function ours(service: Service, name: MetricName, statistic: string): Line {
  return { expression: acrossStreams(service, name, statistic), label: `${service} ${name} ${statistic}` };
}

function withOptions({ metric, ...options }: Extract<Line, { metric: string[] }>): unknown[] {
  return [...metric, options];
}

/** Frames of all streams over invocations. */
function batchSize(service: Service, frames: MetricName, functionName: string): Line[] {
  const invocations = {
    metric: awsMetric('AWS/Lambda', 'Invocations', functionName),
    stat: 'Sum',
    visible: false,
  };
  return [
    { ...invocations, id: service, label: `${service} Invocations` },
    {
      expression: `SUM(${acrossStreams(service, frames, 'Sum')}) / ${service}`,
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
