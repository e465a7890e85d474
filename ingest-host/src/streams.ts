import { isStreamId } from '@video-pipeline/frame';
import { isMap, isSeq, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';

/** One camera, as the list of streams names it. */
export interface StreamSpec {
  id: string;
  /** rtsp(s), http(s), srt, rtmp, file URL or path; may hold credentials, so it is never logged as it is. */
  url: string;
  /** Frames a second. */
  frameRate: number;
  /** JPEG quality to begin with, 1..100. */
  quality: number;
  /** How RTSP carries the packets. */
  transport: 'tcp' | 'udp';
}

/** A list of streams that can't be used; says which line and which field. */
export class StreamsError extends Error {
  override readonly name = 'StreamsError';
}

const entry = z.strictObject({
  id: z.string().refine(isStreamId, 'must be letters, digits, ".", "_", "-", at most 128 of them'),
  url: z.string().min(1, 'must not be empty'),
  frame_rate: z.number().min(0.01).max(240).optional(),
  quality: z.int().min(1).max(100).optional(),
  transport: z.enum(['tcp', 'udp']).optional(),
});

export interface StreamDefaults {
  frameRate: number;
  quality: number;
}

/**
 * Reads a list of streams, YAML or JSON: `[{id, url, frame_rate?, quality?, transport?}, ...]`.
 * @param where name of the variable or file, for errors
 * @throws StreamsError naming line and field of everything that is wrong
 */
export function parseStreams(text: string, defaults: StreamDefaults, where: string): StreamSpec[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [syntax] = document.errors;
  if (syntax)
    throw new StreamsError(`${where}: line ${syntax.linePos?.[0].line ?? 1}: not YAML (${syntax.code})`);
  const list = document.contents;
  if (!isSeq(list)) throw new StreamsError(`${where}: must be a list of streams: [{id: ..., url: ...}]`);

  const problems: string[] = [];
  const specs: StreamSpec[] = [];
  for (const item of list.items) {
    const line = (node: unknown) => lines.linePos((node as { range?: [number] })?.range?.[0] ?? 0).line;
    const parsed = entry.safeParse(isMap(item) ? item.toJS(document) : undefined);
    if (parsed.success) specs.push(withDefaults(parsed.data, defaults));
    // The message names the field alone: the value may hold a password.
    else
      for (const issue of parsed.error.issues)
        problems.push(describe(issue, line(fieldOf(item, issue) ?? item)));
    const twice = parsed.success && specs.filter(({ id }) => id === parsed.data.id).length > 1;
    if (twice) problems.push(`line ${line(item)}: id '${parsed.data.id}' is there twice`);
  }
  if (problems.length > 0) throw new StreamsError(`${where}: ${problems.join('; ')}`);
  return specs;
}

function withDefaults(item: z.output<typeof entry>, defaults: StreamDefaults): StreamSpec {
  return {
    id: item.id,
    url: item.url,
    frameRate: item.frame_rate ?? defaults.frameRate,
    quality: item.quality ?? defaults.quality,
    transport: item.transport ?? 'tcp',
  };
}

function fieldOf(item: unknown, issue: z.core.$ZodIssue): unknown {
  const name = issue.code === 'unrecognized_keys' ? issue.keys[0] : issue.path[0];
  return isMap(item) && item.items.find(({ key }) => String(key) === name)?.key;
}

function describe(issue: z.core.$ZodIssue, line: number): string {
  const field = issue.path.length > 0 ? `'${String(issue.path[0])}' ` : '';
  return `line ${line}: ${field}${issue.message.replace(/^Invalid input: /, 'is invalid: ')}`;
}
