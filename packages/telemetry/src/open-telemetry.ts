import { ROOT_CONTEXT, type SpanContext, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { redact } from './redact.ts';

/** A span that has begun: one step of a frame through the pipeline. */
export interface Span {
  /** Its W3C `traceparent`, which records carry on. */
  traceparent: string;
  /** @param error why it failed */
  end(error?: unknown): void;
}

export interface SpanOptions {
  /** `traceparent` of the parent. Without one, a new trace begins. */
  parent?: string | undefined;
  /** `traceparent` of each related span in another trace. */
  links?: string[];
  /** When it began, epoch milliseconds. Left out: now. */
  at?: number;
  attributes?: Record<string, string | number>;
}

/** Longest export, milliseconds: a collector that does not answer must not hold up a Lambda invocation for longer. */
const EXPORT_MS = 2_000;
const EVERY_MS = 1_000;

/** Sends spans to OTEL_EXPORTER_OTLP_ENDPOINT. Records the share OTEL_TRACES_SAMPLER_ARG of new traces. */
export function openTelemetry() {
  const share = Number(process.env.OTEL_TRACES_SAMPLER_ARG || 1);
  const processor = new BatchSpanProcessor({
    exporter: reportingOnce(new OTLPTraceExporter({ timeoutMillis: EXPORT_MS })),
    scheduledDelayMillis: EVERY_MS,
    exportTimeoutMillis: EXPORT_MS,
  });
  const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(share) });
  const tracers = new Map<string, Tracer>();
  const tracerOf = (service: string) => {
    const resource = resourceFromAttributes({ 'service.name': `video-pipeline-${service}` });
    const make = () => new TracerProvider({ resource, sampler, spanProcessors: [processor] });
    return tracers.get(service) ?? tracers.set(service, make().getTracer('video-pipeline')).get(service);
  };
  return {
    start(service: string, name: string, { parent, links = [], at, attributes = {} }: SpanOptions): Span {
      const within = parent ? trace.setSpanContext(ROOT_CONTEXT, contextOf(parent)) : ROOT_CONTEXT;
      const options = {
        ...(at === undefined ? {} : { startTime: at }),
        attributes,
        links: links.map((one) => ({ context: contextOf(one) })),
      };
      const span = (tracerOf(service) as Tracer).startSpan(name, options, within);
      const { traceId, spanId, traceFlags } = span.spanContext();
      return {
        traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
        end(error) {
          if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
          span.end();
        },
      };
    },
    /** Resolves once the spans that have ended are sent, or their loss is reported. */
    flush: () => processor.forceFlush().catch(() => {}),
  };
}

function contextOf(traceparent: string): SpanContext {
  const [, traceId = '', spanId = '', flags = ''] = traceparent.split('-');
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

/** Reports once on stderr that spans are lost. Frames are not lost. */
function reportingOnce(exporter: SpanExporter): SpanExporter {
  let isReported = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error && !isReported)
          process.stderr.write(
            `traces are not exported to ${redact(String(process.env.OTEL_EXPORTER_OTLP_ENDPOINT))}: ${result.error.message}\n`,
          );
        isReported ||= result.error !== undefined;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}
