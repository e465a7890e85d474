import { expect, test } from 'vitest';
import type { Candidate } from './head.ts';
import { intersectionOverUnion, strongest, suppress } from './nms.ts';

const options = { iou: 0.5, classAgnostic: false, maxDetections: 300 };
const candidate = (score: number, box: Candidate['box'], classId = 0): Candidate => ({ classId, score, box });
const left = candidate(0.9, [0, 0, 10, 10]);
const leftShifted = candidate(0.8, [1, 0, 11, 10]);
const right = candidate(0.7, [100, 0, 110, 10]);

test('intersectionOverUnion of equal, overlapping and separate boxes', () => {
  expect(intersectionOverUnion([0, 0, 10, 10], [0, 0, 10, 10])).toBe(1);
  expect(intersectionOverUnion([0, 0, 10, 10], [5, 0, 15, 10])).toBeCloseTo(1 / 3);
  expect(intersectionOverUnion([0, 0, 10, 10], [10, 0, 20, 10])).toBe(0);
  expect(intersectionOverUnion([5, 5, 5, 5], [5, 5, 5, 5])).toBe(0);
});

test('of two overlapping boxes the one with the higher score is kept, and the best comes first', () => {
  expect(suppress([right, leftShifted, left], options)).toEqual([left, right]);
});

test('boxes of different classes do not suppress each other, unless classAgnostic is set', () => {
  const other = { ...leftShifted, classId: 1 };
  expect(suppress([left, other], options)).toEqual([left, other]);
  expect(suppress([left, other], { ...options, classAgnostic: true })).toEqual([left]);
});

test('a box that overlaps only a suppressed box is kept', () => {
  const chain = [0, 3, 6].map((x, index) => candidate(0.9 - index / 10, [x, 0, x + 10, 10]));
  expect(suppress(chain, options)).toEqual([chain[0], chain[2]]);
});

test('strongest() keeps the boxes with the highest scores, also when they overlap', () => {
  expect(strongest([right, left, leftShifted], { maxDetections: 2 })).toEqual([left, leftShifted]);
});

test('at most maxDetections boxes are kept', () => {
  const many = Array.from({ length: 20 }, (_, index) =>
    candidate(index / 20, [index * 20, 0, index * 20 + 10, 10]),
  );
  expect(suppress(many, { ...options, maxDetections: 3 }).map(({ score }) => score)).toEqual([
    0.95, 0.9, 0.85,
  ]);
});
