export { type Compacted, compact } from './compact.ts';
export { exported, FORMATS, type Format, mediaTypeOf } from './exports.ts';
export { KEPT, listHours } from './listings.ts';
export {
  type Counts,
  type EventPage,
  type EventQuery,
  type FoundFrame,
  type FrameCounts,
  type Gap,
  type Page,
  type Query,
  QueryError,
  type SearchBucket,
  Tables,
} from './tables.ts';
