import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Files named at the end of a run of several, the slowest first: `SLOWEST_FILES=300` names all. */
const SLOWEST = Number(process.env.SLOWEST_FILES ?? 15);
/** Most lines of the difference between what was expected and what came. */
const DIFF_LINES = 30;

/**
 * Ends a run with its slowest files, with what passed only when it was tried again, and with `N passed, N failed` alone on a
 * line, for those who read the log by machine.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: 'passed' | 'failed') =>
      tests.filter((test) => test.result().state === state).length;
    // A file that could not even be loaded, and an error outside of any test, have failed as well.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandledErrors.length;
    if (modules.length > 1)
      console.log(`\nslowest files, seconds and processor seconds:\n${slowest(modules).join('\n')}`);
    const flaky = tests.filter((test) => test.diagnostic()?.flaky);
    if (flaky.length > 0) console.log(`\npassed when tried again:\n${flaky.map(firstFailure).join('\n')}`);
    console.log(`\n${count('passed')} passed, ${count('failed') + broken} failed`);
  }
}

/** Where a test stands, why its first try failed, and at which line. */
function firstFailure(test: TestCase): string {
  const [error] = test.result().errors ?? [];
  const [line] = error?.stacks ?? [];
  const diff = stripVTControlCharacters(error?.diff ?? '').split('\n', DIFF_LINES);
  const lines = [error?.message ?? 'no error is told', ...(error?.diff ? diff : [])].join('\n');
  const at = line ? `\n    at ${relative(process.cwd(), line.file)}:${line.line}` : '';
  return `  ${test.module.relativeModuleId} > ${test.fullName}\n${lines.replaceAll(/^/gm, '    ')}${at}`;
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
