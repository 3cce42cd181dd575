import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slug } from '../src/slug.js';

test('words are joined', () => {
  assert.equal(slug('  Two words, or three? '), 'two-words-or-three');
});

test('accents are dropped', () => {
  assert.equal(slug('Crème brûlée'), 'creme-brulee');
});
