import type { openTelemetry, Span, SpanOptions } from './open-telemetry.ts';

export type { Span, SpanOptions };

// OpenTelemetry is loaded only where a collector is named.
const tracing: ReturnType<typeof openTelemetry> | undefined = process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  ? (await import('./open-telemetry.ts')).openTelemetry()
  : undefined;

/** Begins a span. Undefined where tracing is off. */
export function startSpan(service: string, name: string, options: SpanOptions = {}): Span | undefined {
  return tracing?.start(service, name, options);
}

/**
 * Does some work as a child span of `parent`. Without a parent, or where tracing is off, it is done without a span.
 * @param work receives the `traceparent` of the span
 */
export async function asSpan<Result>(
  service: string,
  name: string,
  options: SpanOptions,
  work: (traceparent: string | undefined) => Promise<Result>,
): Promise<Result> {
  const span = options.parent === undefined ? undefined : startSpan(service, name, options);
  try {
    const result = await work(span?.traceparent ?? options.parent);
    span?.end();
    return result;
  } catch (error) {
    span?.end(error);
    throw error;
  }
}

/**
 * Options of a span that serves several frames: its parent is the first recorded one, and it is linked with the others.
 */
export function sharedSpan(frames: readonly { traceparent?: string | undefined }[]): SpanOptions {
  const isRecorded = (one: string) => Number.parseInt(one.slice(-2), 16) % 2 === 1;
  const [parent, ...links] = frames.flatMap(({ traceparent: one }) => (one && isRecorded(one) ? [one] : []));
  return { parent, links, attributes: { frames: frames.length } };
}

/** The part of a frame that continues the trace of a span. */
export function traceOf(span: Span | undefined): { traceparent?: string } {
  return span ? { traceparent: span.traceparent } : {};
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
