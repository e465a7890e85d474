import { numberThat } from '@video-pipeline/lifecycle/parse-number';
import { Command } from 'commander';

export { frameRate, positiveInteger } from '../../packages/local/src/command-line.ts';

/** The command line of `npm run <script>`: options are added to it, then it parses. Answers `--help`. */
export function npmScript(script: string, description: string): Command {
  return new Command(`npm run ${script} --`).description(description).showHelpAfterError();
}

export const positiveNumber = numberThat(
  (value) => value > 0 && value < Number.POSITIVE_INFINITY,
  'a number over 0.',
);
