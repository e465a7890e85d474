import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that the report names as the slowest, in about that order: those that mostly wait between those that compute. What
 * is short fills the gaps at the end.
 */
const LONG = [
  ...['e2e/console-outages', 'e2e/outages', 'infra/permissions'],
  ...['e2e/recovery-commands', 'e2e/console-api', 'e2e/stack', 'e2e/start'],
  ...['e2e/ingest-gstreamer', 'e2e/stack-cli', 'e2e/local-store', 'e2e/stage-added'],
  ...['e2e/console-cameras', 'faults/faults', 'e2e/ingest-kafka', 'e2e/console-page', 'infra/settings'],
  ...['e2e/ingest-http', 'infra/commands', 'e2e/ingest-faults', 'e2e/model-nanodet', 'e2e/ingest-probe'],
  ...['infra/scenes', 'e2e/handlers', 'e2e/ingest', 'e2e/console-stream', 'e2e/stage-cli'],
  ...['test/npm-scripts', 'src/families', 'test/source-contract', 'test/commands', 'src/download'],
  ...['e2e/ingest-reload', 'e2e/console-clip', 'e2e/console-draw', 'e2e/events', 'e2e/event-source'],
  ...['e2e/history-python'],
].map((name) => `/${name}.test.ts`);

/** Their files have no worker of their own, and would leave cores idle at the end: they go before those of the same group. */
const SHARING = ['e2e-infra', 'e2e-cameras'];

/** Runs what takes longest first, so that no worker is idle at the end; vitest alone goes by size, and learns by running. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(name));
      return at < 0 ? LONG.length : at;
    };
    const last = ({ name }: { name: string }) => Number(!SHARING.includes(name));
    const projects = [...new Set(sorted.map(({ project }) => project))].sort(
      (one, other) => last(one) - last(other),
    );
    return projects.flatMap((project) =>
      sorted.filter((file) => file.project === project).sort((one, other) => place(one) - place(other)),
    );
  }
}
