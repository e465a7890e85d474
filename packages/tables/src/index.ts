export { type Compacted, compact } from './compact.ts';
export {
  type Counts,
  type FoundFrame,
  type Page,
  type Query,
  QueryError,
  type SearchBucket,
  Tables,
} from './tables.ts';
