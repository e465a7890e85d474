import { Command } from 'commander';
import { estimate, totalUsd } from './costs.ts';
import { stageOf } from './stages.ts';

const [names] = new Command('npm run costs --')
  .description('Print what each stage costs a month and an hour, from its row in infra/stages.ts.')
  .argument('[stages...]', 'names of stages', ['production', 'staging', 'personal'])
  .parse().processedArgs as [string[]];
for (const name of names) {
  const stage = stageOf(name);
  const { items, assumptions } = estimate(stage);
  const total = totalUsd(items);
  const line = (item: string, usd: number) =>
    console.log(`  ${item.padEnd(36)}${usd.toFixed(0).padStart(7)}`);
  console.log(`${name}: US dollars a month`);
  for (const { item, usd } of items) line(item, usd);
  line('total', total);
  console.log(`  an hour that it exists: ${(total / stage.load.stageHours).toFixed(2)}`);
  for (const assumption of assumptions) console.log(`  - ${assumption}`);
}
