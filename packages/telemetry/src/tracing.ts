import type { openTelemetry, Step, StepOptions } from './open-telemetry.ts';

export type { Step, StepOptions };

// OpenTelemetry is loaded where a collector is named, and nowhere else.
const tracing: ReturnType<typeof openTelemetry> | undefined = process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  ? (await import('./open-telemetry.ts')).openTelemetry()
  : undefined;

/** Begins a step; undefined where nothing is traced. */
export function startStep(service: string, name: string, options: StepOptions = {}): Step | undefined {
  return tracing?.start(service, name, options);
}

/**
 * Does some work as a step of `parent`; without a parent, or where nothing is traced, it is only done.
 * @param work is told its place in the trace
 */
export async function asStep<Result>(
  service: string,
  name: string,
  options: StepOptions,
  work: (traceparent: string | undefined) => Promise<Result>,
): Promise<Result> {
  const step = options.parent === undefined ? undefined : startStep(service, name, options);
  try {
    const result = await work(step?.traceparent ?? options.parent);
    step?.end();
    return result;
  } catch (error) {
    step?.end(error);
    throw error;
  }
}

/** A step that serves several frames: a part of the first that is recorded, linked with the others. */
export function sharedStep(frames: readonly { traceparent?: string | undefined }[]): StepOptions {
  const isRecorded = (one: string) => Number.parseInt(one.slice(-2), 16) % 2 === 1;
  const [parent, ...links] = frames.flatMap(({ traceparent: one }) => (one && isRecorded(one) ? [one] : []));
  return { parent, links, attributes: { frames: frames.length } };
}

/** What a frame carries on of a step. */
export function traceOf(step: Step | undefined): { traceparent?: string } {
  return step ? { traceparent: step.traceparent } : {};
}

/** Resolves once what was traced is sent, or can't be. */
export async function flushTraces(): Promise<void> {
  await tracing?.flush();
}

/** A handler whose steps are sent before it returns: Lambda freezes the process between two batches. */
export function tracedHandler<Event>(handler: (event: Event) => Promise<void>): typeof handler {
  if (!tracing || !process.env.AWS_LAMBDA_FUNCTION_NAME) return handler;
  return (event) => handler(event).finally(() => tracing.flush());
}
