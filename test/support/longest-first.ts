import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that the report names as the slowest, in about that order. Those that compute stand between those that mostly
 * wait, so that four at a time keep two cores busy. What is short fills the gaps at the end.
 */
const LONG = [
  ...['infra/permissions', 'infra/documented', 'infra/commands', 'infra/settings'],
  ...['e2e/console-outages', 'e2e/console-page', 'e2e/stage-added', 'e2e/stack', 'e2e/console-api'],
  ...['e2e/local-store', 'e2e/stack-cli', 'e2e/ingest-kafka', 'e2e/console-stored', 'e2e/recovery-commands'],
  ...['e2e/ingest-gstreamer', 'e2e/handlers', 'e2e/stage-cli', 'e2e/start', 'e2e/ingest-inputs'],
  ...['e2e/ingest-faults', 'e2e/events', 'e2e/ingest-http', 'e2e/model-limits', 'e2e/console-cameras'],
  ...['e2e/event-source', 'e2e/model-canary', 'e2e/recovery', 'e2e/model-yolov8n', 'e2e/ingest-reload'],
  ...['e2e/model-server', 'e2e/console-stream', 'e2e/ingest', 'e2e/kafka-tls', 'e2e/console-clip'],
  ...['e2e/ingest-choice', 'e2e/history-python', 'e2e/ingest-probe', 'e2e/console-draw', 'e2e/ingest-rtsps'],
  ...['packages/tables/src/tables', 'src/guarded', 'test/source-contract', 'src/compact', 'test/npm-scripts'],
  ...['src/families', 'test/commands', 'src/download'],
].map((name) => `/${name}.test.ts`);

/** A worker is for one project: this one goes first, as it computes most, and the others' short files fill its end. */
const FIRST = 'e2e-infra';

/** Runs what takes longest first, so that no worker is idle at the end; vitest alone goes by size, and learns by running. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(name));
      return at < 0 ? LONG.length : at;
    };
    const last = ({ name }: { name: string }) => Number(name !== FIRST);
    const projects = [...new Set(sorted.map(({ project }) => project))].sort(
      (one, other) => last(one) - last(other),
    );
    return projects.flatMap((project) =>
      sorted.filter((file) => file.project === project).sort((one, other) => place(one) - place(other)),
    );
  }
}
