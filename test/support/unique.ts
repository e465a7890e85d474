import { randomUUID } from 'node:crypto';

/**
 * A new name for a topic, group, stream, key or folder of a test. So the test can be retried
 * beside the remains of its first attempt, and share a server with other tests.
 */
export const unique = (name: string): string => `${name}-${randomUUID().slice(0, 8)}`;
