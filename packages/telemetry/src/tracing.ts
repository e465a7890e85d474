import type { openTelemetry, Step, StepOptions } from './open-telemetry.ts';

export type { Step, StepOptions };

// OpenTelemetry is loaded only where a collector is named.
const tracing: ReturnType<typeof openTelemetry> | undefined = process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  ? (await import('./open-telemetry.ts')).openTelemetry()
  : undefined;

/** Begins a step. Undefined where tracing is off. */
export function startStep(service: string, name: string, options: StepOptions = {}): Step | undefined {
  return tracing?.start(service, name, options);
}

/**
 * Does some work as a step of `parent`. Without a parent, or where tracing is off, the work is done without a step.
 * @param work receives the `traceparent` of the step
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

/**
 * Options of a step that serves several frames: its parent is the first recorded one, and it is linked with the others.
 */
export function sharedStep(frames: readonly { traceparent?: string | undefined }[]): StepOptions {
  const isRecorded = (one: string) => Number.parseInt(one.slice(-2), 16) % 2 === 1;
  const [parent, ...links] = frames.flatMap(({ traceparent: one }) => (one && isRecorded(one) ? [one] : []));
  return { parent, links, attributes: { frames: frames.length } };
}

/** What a frame carries on from a step. */
export function traceOf(step: Step | undefined): { traceparent?: string } {
  return step ? { traceparent: step.traceparent } : {};
}

/** Resolves once the spans are sent, or are lost. */
export async function flushTraces(): Promise<void> {
  await tracing?.flush();
}

/** A handler that sends its spans before it returns: Lambda freezes the process between two invocations. */
export function tracedHandler<Event>(handler: (event: Event) => Promise<void>): typeof handler {
  if (!tracing || !process.env.AWS_LAMBDA_FUNCTION_NAME) return handler;
  return (event) => handler(event).finally(() => tracing.flush());
}
