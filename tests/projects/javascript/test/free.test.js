import assert from 'node:assert/strict';
import { test } from 'node:test';
import { free } from '../src/slug.js';

test('a title that is not taken stays', async () => {
  assert.equal(free('News', new Set()), 'news');
});

test('the next number is found', async () => {
  assert.equal(free('News', new Set(['news', 'news-2'])), 'news-3');
});
