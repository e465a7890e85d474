import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig, type VariableName, variables } from '@video-pipeline/config';
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
interface Compose {
  services: Record<string, { environment?: Record<string, unknown> }>;
}
const compose: Compose = parse(readFileSync(join(import.meta.dirname, '..', COMPOSE), 'utf8'), {
  merge: true,
});
const decided = new Set(
  Object.values(compose.services).flatMap(({ environment = {} }) =>
    Object.keys(environment).filter((name) => environment[name] !== null),
  ),
);
/** Only those services get these that need them: there are secrets among them. */
const OF_RECEIVERS = new Set(RECEIVERS.flatMap(namesOf));

/** Lines for variables that compose hands on from the shell. */
const handedOn = (names: readonly VariableName[], indent: string) =>
  [...new Set(names)]
    .filter((name) => !decided.has(name) && !(name in NOT_HANDED_ON))
    .map((name) => `${indent}${name}:\n`)
    .join('');

/** Variables for the receivers of a stage, and of those whose work it does with PICTURES=once. */
const receiversOf = ({ name }: PipelineStage) =>
  STAGES.filter((one) => one.name === name || one.mergedInto === name).flatMap(({ lambda }) =>
    (lambda.receivers ?? []).flatMap(namesOf),
  );

function serviceOf(stage: PipelineStage): string {
  const { name, handler, enabledBy } = stage;
  const own = handedOn(receiversOf(stage), '      ');
  const command = [
    'packages/event-source/src/main.ts',
    ...['--handler', handler, '--topic', topicOf(stage, config), '--group', groupOf(stage, config)],
  ];
  return [
    `  ${name}:\n    <<: *worker\n`,
    enabledBy ? `    profiles: [with-${name}]\n` : '',
    own ? `    environment:\n      <<: *pipeline\n${own}` : '',
    `    command:\n${command.map((word) => `      - ${word}\n`).join('')}`,
  ].join('');
}

test('docker-compose.yaml passes on each variable that it neither sets nor omits', () => {
  const names = (Object.keys(variables) as VariableName[]).filter((name) => !OF_RECEIVERS.has(name));
  expectGenerated(COMPOSE, 'variables', handedOn(names, '  '));
});

test('docker-compose.yaml has a service for each stage', () => {
  expectGenerated(COMPOSE, 'stages', STAGES.map(serviceOf).join('\n'));
});

test('the console in docker-compose.yaml gets the variables that enable stages', () => {
  const switches = STAGES.flatMap(({ enabledBy = [] }) => enabledBy).filter((name) => OF_RECEIVERS.has(name));
  expectGenerated(COMPOSE, 'switches', handedOn(switches, '      '));
});

test('the deploy workflow passes on the variables of receivers', () => {
  const lines = RECEIVERS.flatMap((receiver) =>
    namesOf(receiver).map((name) => {
      const kept = receiver.secrets?.includes(name) ? 'secrets' : 'vars';
      return `          ${name}: \${{ ${kept}.${name} }}\n`;
    }),
  );
  expectGenerated('.github/workflows/deploy.yaml', 'receivers', [...new Set(lines)].join(''));
  expect(lines.length).toBeGreaterThan(0);
});
