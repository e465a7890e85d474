import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Campaigns: short files that run for a minute or more. */
const LONG = /\/test\/(faults|hostile)\/|\/test\/e2e\/(stage-added|attacks-camera|stack-compose)\./;

/** Runs what takes longest first, so that no worker is idle at the end; vitest alone goes by size, and learns by running. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const projects = [...new Set(sorted.map(({ project }) => project))];
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return projects.flatMap((project) => {
      const own = sorted.filter((file) => file.project === project);
      return [...own.filter(isLong), ...own.filter((file) => !isLong(file))];
    });
  }
}
