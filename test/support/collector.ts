import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span of OpenTelemetry, with the service that sent it. */
export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  service: string;
  links?: { spanId: string }[];
}

/** An OpenTelemetry collector that keeps the spans that it receives as OTLP over HTTP, in JSON. */
export async function startCollector() {
  const spans: Span[] = [];
  const server = createServer(async (request, response) => {
    const { resourceSpans } = JSON.parse(Buffer.concat(await request.toArray()).toString());
    for (const { resource, scopeSpans } of resourceSpans) {
      const { value } = resource.attributes.find(({ key }: { key: string }) => key === 'service.name');
      for (const span of scopeSpans.flatMap((one: { spans: Span[] }) => one.spans))
        spans.push({ ...span, service: value.stringValue });
    }
    response.setHeader('content-type', 'application/json').end('{}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    /** Each span of a span's trace: its service, its name and its parent. */
    wayOf({ traceId }: Span): string[] {
      const own = spans.filter((one) => one.traceId === traceId);
      const nameOf = new Map(own.map(({ spanId, name }) => [spanId, name]));
      return own
        .map(({ service, name, parentSpanId = '' }) => `${service}: ${name} of ${nameOf.get(parentSpanId)}`)
        .sort();
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The spans of a frame that is not the first of its batch. */
export const WAY = [
  'video-pipeline-annotate: annotate.frame of detect.frame',
  'video-pipeline-annotate: s3.put of annotate.frame',
  'video-pipeline-detect: detect.frame of ingest.frame',
  'video-pipeline-ingest: ingest.frame of undefined',
];
