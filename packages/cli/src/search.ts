import { operate } from './operate.ts';

await operate('search', 'packages/tables/src/search-command.ts');
