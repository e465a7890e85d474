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
    if (modules.length > 1)
      console.log(`\nslowest files, seconds and processor seconds:\n${slowest(modules).join('\n')}`);
    console.log(`\n${count('passed')} passed, ${count('failed') + broken} failed`);
  }
}

function slowest(modules: readonly TestModule[]): string[] {
  const took = modules.map((module) => {
    const { collectDuration, duration } = module.diagnostic();
    const cpuSeconds = module.meta().cpuSeconds ?? 0;
    return { file: module.relativeModuleId, seconds: (collectDuration + duration) / 1000, cpuSeconds };
  });
  const sumOf = (part: 'seconds' | 'cpuSeconds') => took.reduce((sum, file) => sum + file[part], 0);
  const all = {
    file: `all ${took.length} files, one after another`,
    seconds: sumOf('seconds'),
    cpuSeconds: sumOf('cpuSeconds'),
  };
  const cells = (numbers: number[]) => numbers.map((number) => number.toFixed(1).padStart(7)).join(' ');
  return [...took.sort((one, other) => other.seconds - one.seconds).slice(0, SLOWEST), all].map(
    ({ file, seconds, cpuSeconds }) => `${cells([seconds, cpuSeconds])}  ${file}`,
  );
}
