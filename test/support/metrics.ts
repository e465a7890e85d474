import { type MetricsLine, parseMetrics } from '@video-pipeline/telemetry';
import { beforeEach, vi } from 'vitest';

/** Collects the lines of metrics instead of printing them. It is empty at the beginning of each test. */
export function collectMetrics(): MetricsLine[] {
  const lines: MetricsLine[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    lines.push(
      ...String(text)
        .trim()
        .split('\n')
        .flatMap((line) => parseMetrics(line) ?? []),
    );
    return true;
  });
  beforeEach(() => void lines.splice(0));
  return lines;
}
