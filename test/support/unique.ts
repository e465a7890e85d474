import { randomUUID } from 'node:crypto';

/**
 * A name that nothing has had before: for a topic, group, stream, key or folder of a test. So the test can be tried again
 * beside what its first attempt left, and share a server with others.
 */
export const unique = (name: string): string => `${name}-${randomUUID().slice(0, 8)}`;
