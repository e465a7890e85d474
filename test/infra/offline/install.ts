import { ensurePlatform } from './platform.ts';

/** Installs `.sst/platform`, so that editors and the type check of infra/ know SST's types. */
await ensurePlatform(console.log);
