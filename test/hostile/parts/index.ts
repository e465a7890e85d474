import { kafka } from './kafka.ts';
import type { Part } from './part.ts';

export const PARTS: readonly Part[] = [kafka];
