import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig, type VariableName } from '@video-pipeline/config';
import {
  groupOf,
  type PipelineStage,
  RECEIVERS,
  STAGE_VARIABLES,
  STAGES,
  topicOf,
} from '@video-pipeline/stages';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { namesOf } from '../infra/settings.ts';
import { expectGenerated } from './support/generated.ts';
import { NOT_HANDED_ON } from './support/not-handed-on.ts';

const COMPOSE = 'docker-compose.yaml';
const config = readConfig(STAGE_VARIABLES, {});
const pipeline: Record<string, unknown> = parse(
  readFileSync(join(import.meta.dirname, '..', COMPOSE), 'utf8'),
  { merge: true },
)['x-pipeline'];

/** Variables that a service takes from the shell beside those that all take. */
const handedOn = (names: readonly VariableName[], indent: string) =>
  [...new Set(names)]
    .filter((name) => !(name in pipeline) && !(name in NOT_HANDED_ON))
    .map((name) => `${indent}${name}:\n`)
    .join('');

/** Variables of a stage, and of those whose work it does with PICTURES=once. */
const variablesOf = ({ name }: PipelineStage) =>
  STAGES.filter((one) => one.name === name || one.within === name).flatMap(({ lambda }) => [
    ...(lambda.receivers ?? []).flatMap(namesOf),
    ...(lambda.environment ?? []),
  ]);

function serviceOf(stage: PipelineStage): string {
  const { name, handler, onlyWith } = stage;
  const own = handedOn(variablesOf(stage), '      ');
  const command = [
    'packages/event-source/src/main.ts',
    ...['--handler', handler, '--topic', topicOf(stage, config), '--group', groupOf(stage, config)],
  ];
  return [
    `  ${name}:\n    <<: *worker\n`,
    onlyWith ? `    profiles: [with-${name}]\n` : '',
    own ? `    environment:\n      <<: *pipeline\n${own}` : '',
    `    command:\n${command.map((word) => `      - ${word}\n`).join('')}`,
  ].join('');
}

test('docker-compose.yaml has a service for each stage', () => {
  expectGenerated(COMPOSE, 'stages', STAGES.map(serviceOf).join('\n'));
});

test('the console in docker-compose.yaml knows which stages run', () => {
  const switches = STAGES.flatMap(({ onlyWith = [] }) => onlyWith);
  expectGenerated(COMPOSE, 'switches', handedOn(switches, '      '));
});

test('the workflow that deploys passes on what receivers need', () => {
  const lines = RECEIVERS.flatMap((receiver) =>
    namesOf(receiver).map((name) => {
      const kept = receiver.secrets?.includes(name) ? 'secrets' : 'vars';
      return `          ${name}: \${{ ${kept}.${name} }}\n`;
    }),
  );
  expectGenerated('.github/workflows/deploy.yaml', 'receivers', [...new Set(lines)].join(''));
  expect(lines.length).toBeGreaterThan(0);
});
