import type { Reporter, TestModule } from 'vitest/node';

/** Files named at the end of a run of several, the slowest first. */
const SLOWEST = 15;

/** Ends a run with its slowest files, and with `N passed, N failed` alone on a line, for those who read the log by machine. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: 'passed' | 'failed') =>
      tests.filter((test) => test.result().state === state).length;
    // A file that could not even be loaded, and an error outside of any test, have failed as well.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandledErrors.length;
    if (modules.length > 1) console.log(`\nslowest files, seconds:\n${slowest(modules).join('\n')}`);
    console.log(`\n${count('passed')} passed, ${count('failed') + broken} failed`);
  }
}

function slowest(modules: readonly TestModule[]): string[] {
  const took = modules.map((module) => {
    const { collectDuration, duration } = module.diagnostic();
    return { file: module.relativeModuleId, seconds: (collectDuration + duration) / 1000 };
  });
  const all = took.reduce((sum, { seconds }) => sum + seconds, 0);
  return took
    .sort((one, other) => other.seconds - one.seconds)
    .slice(0, SLOWEST)
    .map(({ file, seconds }) => `${seconds.toFixed(1).padStart(7)}  ${file}`)
    .concat(`${all.toFixed(1).padStart(7)}  all ${took.length} files, one after another`);
}
