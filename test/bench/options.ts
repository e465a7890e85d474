import { Command, InvalidArgumentError } from 'commander';

export { frameRate, positiveInteger } from '../../packages/local/src/command-line.ts';

/** The command line of `npm run <script>`: options are added to it, then it parses. Answers `--help`. */
export function npmScript(script: string, description: string): Command {
  return new Command(`npm run ${script} --`).description(description).showHelpAfterError();
}

/** Reads an option's value. @throws InvalidArgumentError */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) {
    throw new InvalidArgumentError('must be a number over 0.');
  }
  return value;
}
