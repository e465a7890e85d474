export { type Compacted, compact } from './compact.ts';
export { QueryError } from './cursor.ts';
export type { EventPage, EventQuery } from './events.ts';
export { exported, FORMATS, type Format, foundFrames, MEDIA_TYPES } from './exports.ts';
export type { FoundFrame } from './found-frame.ts';
export type { Counts } from './history.ts';
export { KEPT } from './listings.ts';
export type { Query } from './sql.ts';
export { Tables } from './tables.ts';
