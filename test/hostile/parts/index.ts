import { cameras } from './cameras.ts';
import { http } from './http.ts';
import { kafka } from './kafka.ts';
import type { Part } from './part.ts';

export const PARTS: readonly Part[] = [kafka, cameras, http];
