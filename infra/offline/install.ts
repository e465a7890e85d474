import { ensurePlatform } from './platform.ts';

/** Lays out `.sst/platform`, so that editors and the type check of infra/ know SST's types. */
await ensurePlatform(console.log);
